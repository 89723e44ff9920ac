'use strict';
// The page: which feature is shown, what the address says, and what keys and pointers do.
(function () {
  const parts = untangle.parts;
  const { el, line, number, percent, section, fact, columns } = parts;
  const byId = (id) => document.getElementById(id);
  const [main, tip, keys] = [byId('main'), byId('tip'), byId('keys')];
  const run = untangle.data.run();
  if (!run) {
    main.replaceChildren(el('p', {}, 'data/run.js is not there; keep the folder together, or make the dashboard again.'));
    return;
  }
  const SORTS = ['score', 'density', 'max', 'id'];
  const list = new untangle.List(byId('rows'), byId('lines'), byId('count'), href);
  let shown = null; // what is drawn: number of the feature, its histogram and its examples

  // Addresses: #/38?q=golden&sort=density&turned=1&only=labelled; of the dictionary: #/about
  function href(id) {
    const { text, sort, turned, only } = list.query;
    const asked = new URLSearchParams();
    if (text) asked.set('q', text);
    if (sort !== 'score') asked.set('sort', sort);
    if (turned) asked.set('turned', '1');
    if (only) asked.set('only', only);
    const query = asked.toString();
    return `#/${id === null ? '' : id}${query ? '?' + query : ''}`;
  }

  function address() {
    const [path, query] = location.hash.replace(/^#\/?/, '').split('?');
    const asked = new URLSearchParams(query || '');
    const id = /^\d+$/.test(path) && Number(path) < run.features ? Number(path) : null;
    const about = path === 'about';
    const sort = SORTS.includes(asked.get('sort')) ? asked.get('sort') : 'score';
    return { id, about, query: { text: asked.get('q') || '', sort, turned: asked.has('turned'), only: asked.get('only') || '' } };
  }

  function go(id) {
    const next = href(id);
    if (next !== location.hash) history.replaceState(null, '', next);
    show(id);
  }

  function follow() {
    const { id, about, query } = address();
    byId('find').value = query.text;
    byId('sort').value = query.sort;
    byId('only').value = query.only;
    byId('turn').setAttribute('aria-pressed', String(query.turned));
    byId('turn').textContent = query.turned ? '↑' : '↓';
    if (JSON.stringify(query) !== JSON.stringify(list.query)) list.ask(query);
    byId('home').href = href('about');
    show(id, about);
  }

  async function show(id, about) {
    document.body.className = id !== null ? 'at-feature' : about ? 'at-about' : 'at-home';
    list.select(id, true);
    hush();
    if (shown !== null && shown.id === id) return;
    shown = { id };
    if (id === null) {
      document.title = `${line(run.sae)}: features`;
      main.replaceChildren(...home());
      return;
    }
    try {
      const { feature, tokens } = await untangle.data.feature(id);
      if (shown.id !== id) return;
      main.replaceChildren(...page(feature, tokens));
      main.scrollTop = 0;
      window.scrollTo(0, 0);
    } catch (error) {
      if (shown.id === id) main.replaceChildren(el('p', { role: 'alert' }, error.message));
    }
  }

  // The page of a feature.
  function page(feature, tokens) {
    const first = feature.labels[0];
    document.title = `${feature.id} ${first ? line(first.text) : ''}`.trim();
    const commands = section('Go on with it', 'of-commands',
      el('pre', { tabindex: '0' }, el('code', {}, `untangle show FEATURES.db ${feature.id}`)),
      el('pre', { tabindex: '0' }, el('code', {}, `untangle steer MODEL --sae SAE --features FEATURES.db \\\n    --feature ${feature.id}:add=0.5x --prompt 'TEXT'`)));
    const { nodes, chart } = parts.sheet(feature, tokens, { above: back(), behind: [commands], named: (id) => list.label(id), parts: run.parts, href, pointed });
    shown.chart = chart;
    return nodes;
  }

  function back() {
    return el('p', { class: 'back' }, el('a', { href: href(null) }, '‹ all features'));
  }

  // The page of the dictionary.
  function home() {
    const n = (value) => value.toLocaleString('en');
    const decade = (i) => (i - run.densities.length) / run.bins_per_decade;
    const density = (i) => `${percent(10 ** decade(i))} to ${percent(10 ** decade(i + 1))} of tokens`;
    const score = (i) => `F1 ${(i / run.scores.length).toFixed(2)} to ${((i + 1) / run.scores.length).toFixed(2)}`;
    const from = el('p', { class: 'soft' }, `${run.model ? `of ${line(run.model)}, ` : ''}described from ${n(run.rows)} tokens of ${line(run.store)}`);
    const f1 = run.mean_f1 === null ? '–' : number(run.mean_f1);
    const beside = run.mean_f1 === null ? 'no label was scored' : `other features’ labels ${number(run.mean_control)}, always firing ${number(run.mean_floor)}`;
    const sources = Object.entries(run.sources).map(([name, count]) => `${n(count)} by ${line(name)}`).join(', ');
    return [
      el('header', { class: 'title' }, back(), el('h1', {}, line(run.sae)), from,
        el('dl', { class: 'facts' },
          fact('Features', n(run.features)),
          fact('Labelled', n(run.labelled), sources || 'none'),
          fact('Mean F1', f1, beside),
          fact('Dead', n(run.dead), `never fired in ${n(run.rows)} tokens`),
          fact('Dense', n(run.dense), 'fire on more than 10 %'))),
      columns([
        run.best.length === 0 ? null : section('To begin with', 'of-best', el('ol', { class: 'best' }, ...run.best.map(([id, label]) =>
          el('li', {}, el('a', { href: href(id), dir: 'auto' }, el('b', {}, String(id)), ' ' + line(label)))))),
        section('Words', 'of-words', words()),
      ], [
        section('How often features fire', 'of-densities', parts.bars(run.densities, density, [percent(10 ** decade(0)), 'part of tokens', 'always'])),
        section('How well labels hold', 'of-scores', parts.bars(run.scores, score, ['F1 0', 'on held-out text', '1'])),
      ]),
    ];
  }

  function words() {
    const all = [
      ['F1', 'How well “it fires exactly where the label says” holds on text that the labeller never saw: 1 is always, 0 never. Beside it stand what the label of another feature reaches, and what “it always fires” does.'],
      ['density', 'The part of all tokens on which a feature fires. Features that fire on more than a tenth are rarely about one thing.'],
      ['shading', 'How strongly the feature fires on a token, as a part of the strongest activation that was seen. The underlined token is the one that the example was chosen for.'],
      ['makes likelier', 'What the feature writes, read as predictions of the next token, by itself; what later layers do with it is left out.'],
      ['writes like', 'Features whose directions have the largest cosine: 1 is the same.'],
    ];
    return el('dl', { class: 'words' }, ...all.flatMap(([word, meaning]) => [el('dt', {}, word), el('dd', {}, meaning)]));
  }

  const { hush, pointed } = parts.pointing(main, tip, () => (shown ? shown.chart : null));

  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || keys.open) return;
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    const find = byId('find');
    if (event.key === 'Escape') {
      if (typing) event.target.blur(); else if (shown && shown.id !== null) go(null);
      return;
    }
    if (typing) {
      if (event.key === 'Enter' && event.target === find && list.found.length > 0) { event.preventDefault(); go(list.found[0]); find.blur(); }
      if (event.key === 'ArrowDown' && event.target === find && list.found.length > 0) { event.preventDefault(); find.blur(); go(list.found[0]); }
      return;
    }
    const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
    // Arrows scroll what is read; in the list, or where nothing is, they go through it.
    const reads = main.contains(document.activeElement) && event.key.startsWith('Arrow');
    if (step && !reads && list.found.length > 0) { event.preventDefault(); go(list.beside(shown ? shown.id : null, step)); }
    else if (event.key === '/') { event.preventDefault(); find.focus(); find.select(); }
    else if (event.key === '?') { event.preventDefault(); keys.showModal(); }
    else if (event.key === 'r') { go(list.found[Math.floor(Math.random() * list.found.length)]); }
  });

  function ask(query) {
    list.ask(query);
    history.replaceState(null, '', href(shown ? shown.id : null));
    byId('home').href = href('about');
    list.drawn = '';
    list.draw();
  }

  byId('find').addEventListener('input', (event) => ask({ text: event.target.value }));
  byId('sort').addEventListener('change', (event) => ask({ sort: event.target.value }));
  byId('only').addEventListener('change', (event) => ask({ only: event.target.value }));
  byId('turn').addEventListener('click', (event) => {
    const turned = !list.query.turned;
    event.currentTarget.setAttribute('aria-pressed', String(turned));
    event.currentTarget.textContent = turned ? '↑' : '↓';
    ask({ turned });
  });
  document.querySelector('form.tools').addEventListener('submit', (event) => event.preventDefault());
  byId('help').addEventListener('click', () => keys.showModal());

  const KEYS = [['j  ↓', 'the next feature'], ['k  ↑', 'the one before'], ['/', 'find'], ['r', 'any feature'],
    ['←  →', 'through tokens of an example, or bins of the histogram'], ['Esc', 'back'], ['?', 'this']];
  keys.append(el('h2', {}, 'Keys'), el('dl', { class: 'keys' }, ...KEYS.flatMap(([key, does]) => [el('dt', {}, el('kbd', {}, key)), el('dd', {}, does)])),
    el('h2', {}, 'Words'), words(), el('form', { method: 'dialog' }, el('button', {}, 'close')));
  keys.addEventListener('click', (event) => { if (event.target === keys) keys.close(); });

  window.addEventListener('hashchange', follow);
  byId('home').textContent = line(run.sae);
  list.load().then(() => { list.select(shown ? shown.id : null, true); rename(); }, (error) => { byId('count').textContent = error.message; });
  follow();

  // Neighbours that were drawn before their labels were there.
  function rename() {
    for (const link of main.querySelectorAll('.near a')) {
      const label = list.label(Number(link.firstChild.textContent));
      if (label !== null) link.replaceChildren(link.firstChild, ' ' + line(label));
    }
  }
})();
