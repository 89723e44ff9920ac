'use strict';
// Parts of pages about features: data in, elements out. They know neither where data comes from nor which page they are on.
// Whatever text holds, it becomes text nodes; nothing here makes markup of strings.
var untangle = window.untangle || {};
(function () {
  const SVG = 'http://www.w3.org/2000/svg';
  // Control characters, marks and overrides of direction, separators of lines and paragraphs: what acts instead of being seen.
  const ACTS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f]/g;

  function visible(text) {
    return text.replace(ACTS, (c) => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'));
  }

  // A text on one line: breaks and tabs are signs.
  function line(text) {
    return visible(text.replace(/\n/g, '⏎').replace(/\t/g, '⇥'));
  }

  // An element of HTML with attributes and children; strings become text.
  function el(name, attributes, ...children) {
    return filled(document.createElement(name), attributes, children);
  }

  function svg(name, attributes, ...children) {
    return filled(document.createElementNS(SVG, name), attributes, children);
  }

  function filled(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? '' : value);
    }
    node.append(...children.filter((child) => child !== null && child !== undefined));
    return node;
  }

  // Numbers as people write them: three digits that count.
  function number(value) {
    if (value === 0) return '0';
    const size = Math.floor(Math.log10(Math.abs(value)));
    if (size < -4 || size > 6) return value.toExponential(1);
    return String(Number(value.toPrecision(Math.max(3, size + 1))));
  }

  function percent(part) {
    return part === 0 ? '0 %' : number(100 * part) + ' %';
  }

  // How strongly a token is shaded, from 0 to 1; what fires weakly is still seen.
  function shade(value, max) {
    return value === 0 || max === 0 ? 0 : Math.min(1, 0.18 + 0.82 * Math.abs(value) / max);
  }

  // An example: its tokens on a line, each shaded by how strongly the feature fires on it. `tokens` are texts.
  function example(one, tokens, max) {
    const values = new Map();
    for (let i = 0; i < one.v.length; i += 2) values.set(one.v[i], one.v[i + 1]);
    const text = el('p', { class: 'text', dir: 'auto', tabindex: '0', 'aria-label': spoken(one, tokens, values) });
    one.t.forEach((token, at) => {
      const value = values.get(at) || 0;
      const shown = line(tokens[token]);
      // The blank before a word is not the word's: shaded, it would hang at the end of the line before.
      const blank = shown.trim() === '' ? '' : shown.slice(0, shown.length - shown.trimStart().length);
      const span = el('span', { class: 't' + (value < 0 ? ' less' : '') + (at === one.k ? ' peak' : '') }, shown.slice(blank.length));
      if (value !== 0) span.style.setProperty('--a', shade(value, max).toFixed(3));
      span.untangle = { text: tokens[token], value };
      if (at > 0 && blank !== '') text.append(blank);
      text.append(span);
    });
    return el('li', { class: 'example' }, el('span', { class: 'act', title: 'activation at its strongest token' }, number(one.a)), text);
  }

  // What a reader hears of an example: its text, and on what the feature fires.
  function spoken(one, tokens, values) {
    const fires = [...values.entries()].sort((a, b) => b[1] - a[1]).slice(0, 3);
    const named = fires.map(([at, value]) => `${line(tokens[one.t[at]]).trim()} ${number(value)}`);
    const said = named.length > 0 ? `Fires on ${named.join(', ')}.` : 'It does not fire.';
    return `${line(one.t.map((t) => tokens[t]).join('')).trim()}. ${said}`;
  }

  // Sizes of activations, in bins of equal ratio. Returns the figure, `mark(value)`, which draws a line there (none for
  // null), and `bin(value)`. `pointed(bin)` is called with the edges of the bin that is pointed at, or null.
  function histogram(edges, counts, pointed) {
    const [width, height, bottom, top] = [340, 132, 22, 8];
    const total = counts.reduce((sum, count) => sum + count, 0);
    if (total === 0) return { node: el('p', { class: 'soft' }, 'It never fired.'), mark() {}, bin: () => -1 };
    const most = Math.max(...counts);
    const [low, high] = [Math.log(edges[0]), Math.log(edges[edges.length - 1])];
    const x = (value) => 6 + (width - 12) * (Math.log(value) - low) / (high - low);
    const bin = (value) => counts.findIndex((_, i) => value >= edges[i] && (value < edges[i + 1] || i === counts.length - 1));
    const said = el('span', { role: 'status' });
    const rest = () => { said.textContent = `${total.toLocaleString('en')} tokens on which it fires, by activation`; };
    const bars = counts.map((count, i) => {
      const tall = count === 0 ? 0 : Math.max(1.5, (height - top - bottom) * count / most);
      const at = { x: x(edges[i]) + 0.5, width: Math.max(1, x(edges[i + 1]) - x(edges[i]) - 1) };
      return svg('g', { class: 'bin' },
        svg('rect', { class: 'hover', ...at, y: 0, height: height - bottom }),
        svg('rect', { class: 'bar', ...at, y: height - bottom - tall, height: tall }));
    });
    const mark = svg('line', { class: 'mark', y1: 0, y2: height - bottom, visibility: 'hidden' });
    const every = Math.ceil(edges.length / 6);
    const ticks = edges.filter((_, i) => i % every === 0).map((edge) => {
      const anchor = x(edge) < 20 ? 'start' : x(edge) > width - 20 ? 'end' : 'middle';
      return svg('text', { x: x(edge), y: height - 6, 'text-anchor': anchor }, number(edge));
    });
    const drawing = svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', tabindex: '0',
      'aria-label': `Histogram of activations from ${number(edges[0])} to ${number(edges[edges.length - 1])}; arrow keys go through its bins` },
      svg('path', { class: 'axis', d: `M6 ${height - bottom}H${width - 6}` }), ...bars, ...ticks, mark);
    let current = null;
    const point = (i) => {
      if (i === current) return;
      if (current !== null) bars[current].classList.remove('on');
      current = i;
      if (i === null) { rest(); pointed(null); return; }
      bars[i].classList.add('on');
      said.textContent = `${number(edges[i])} to ${number(edges[i + 1])}: ${counts[i].toLocaleString('en')} tokens, ${percent(counts[i] / total)}`;
      pointed([edges[i], i === counts.length - 1 ? Infinity : edges[i + 1]]);
    };
    bars.forEach((bar, i) => bar.addEventListener('pointerenter', () => point(i)));
    drawing.addEventListener('pointerleave', () => point(null));
    drawing.addEventListener('blur', () => point(null));
    drawing.addEventListener('keydown', (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      point(current === null ? (step > 0 ? 0 : bars.length - 1) : Math.min(bars.length - 1, Math.max(0, current + step)));
    });
    rest();
    const show = (value) => {
      const on = value !== null && value > 0;
      mark.setAttribute('visibility', on ? 'visible' : 'hidden');
      if (on) for (const end of ['x1', 'x2']) mark.setAttribute(end, x(Math.min(Math.max(value, edges[0]), edges[edges.length - 1])));
    };
    return { node: el('figure', { class: 'histogram' }, drawing, el('figcaption', {}, said)), mark: show, bin };
  }

  // Tokens raised or lowered, with bars of their effects.
  function effects(pairs, kind) {
    const most = Math.max(...pairs.map(([, effect]) => Math.abs(effect)), 1e-9);
    return el('ol', { class: 'effects ' + kind }, ...pairs.map(([token, effect]) => {
      const bar = el('span', { class: 'amount', 'aria-hidden': 'true' });
      bar.style.setProperty('--w', (100 * Math.abs(effect) / most).toFixed(1) + '%');
      const sign = effect > 0 ? '+' : effect < 0 ? '−' : '';
      return el('li', {}, el('code', { dir: 'auto' }, `"${line(token)}"`), bar,
        el('span', { class: 'value' }, sign + number(Math.abs(effect))));
    }));
  }

  // A score on a track from 0 to 1, beside what saying nothing and what labels of other features reach.
  function score(one) {
    const names = { f1: 'F1 on held-out text', 'sensitivity-written': 'sensitivity on written text' };
    const track = el('span', { class: 'track', 'aria-hidden': 'true' });
    const put = (name, value) => {
      if (value === null || value === undefined) return;
      const at = el('span', { class: name });
      at.style.setProperty('--at', (100 * Math.min(1, Math.max(0, value))).toFixed(1) + '%');
      track.append(at);
    };
    put('reached', one.value);
    put('floor', one.floor);
    put('control', one.control);
    const between = one.interval ? ` [${number(one.interval[0])}, ${number(one.interval[1])}]` : '';
    const beside = [];
    if (one.control !== null) beside.push(`another feature’s label ${number(one.control)}`);
    if (one.floor !== null) beside.push(`saying nothing ${number(one.floor)}`);
    beside.push(`n ${one.n.toLocaleString('en')}`);
    return el('div', { class: 'score' },
      el('span', { class: 'scorer' }, names[one.scorer] || line(one.scorer)),
      el('strong', {}, number(one.value) + between), track, el('small', {}, beside.join(' · ')));
  }

  // Who made a label, of what, and how well it holds.
  function standing(label) {
    const kinds = { input: 'what makes it fire', output: 'what it makes the model say' };
    return [el('p', { class: 'from' }, `${kinds[label.kind]}, by `, el('code', {}, line(label.source))), ...label.scores.map(score)];
  }

  // Labels with their standing.
  function labels(all) {
    return el('ul', { class: 'labels' }, ...all.map((label) =>
      el('li', {}, el('p', { class: 'said', dir: 'auto' }, line(label.text)), ...standing(label))));
  }

  // Neighbours of a kind; `named(feature)` is a label or null, `href(feature)` where its page is.
  function near(pairs, named, href) {
    return el('ol', { class: 'near' }, ...pairs.map(([, feature, value]) => {
      const bar = el('span', { class: 'amount', 'aria-hidden': 'true' });
      bar.style.setProperty('--w', (100 * Math.min(1, Math.max(0, value))).toFixed(1) + '%');
      const label = named(feature);
      return el('li', {}, el('span', { class: 'value' }, value.toFixed(2)), bar,
        el('a', { href: href(feature), dir: 'auto' }, el('b', {}, String(feature)), ' ' + (label === null ? 'no label' : line(label))));
    }));
  }

  // Shares of the parts of a crosscoder, which have these names, with the cosines of what is written into them and into the first.
  function parts(shared, names) {
    return el('ol', { class: 'near' }, ...shared.shares.map((share, at) => {
      const bar = el('span', { class: 'amount', 'aria-hidden': 'true' });
      bar.style.setProperty('--w', (100 * share).toFixed(1) + '%');
      const cosine = at > 0 && shared.cosines[at - 1] !== null ? `, cosine with part 1 ${shared.cosines[at - 1].toFixed(2)}` : '';
      return el('li', {}, el('span', { class: 'value' }, percent(share)), bar, el('span', { dir: 'auto' }, `part ${at + 1}${names[at] ? `, ${line(names[at])}` : ''}${cosine}`));
    }));
  }

  // Bars over a row of bins, `name(i)` telling what a bin is.
  function bars(counts, name, ends) {
    const [width, height] = [340, 110];
    const most = Math.max(...counts, 1);
    const step = (width - 12) / counts.length;
    const all = counts.map((count, i) => {
      const tall = count === 0 ? 0 : Math.max(1.5, 84 * count / most);
      return svg('g', { class: 'bin' },
        svg('rect', { class: 'hover', x: 6 + i * step, width: step, y: 0, height: 88 }, svg('title', {}, `${name(i)}: ${count.toLocaleString('en')} features`)),
        svg('rect', { class: 'bar', x: 6.5 + i * step, width: Math.max(1, step - 1), y: 88 - tall, height: tall }));
    });
    return svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': counts.map((c, i) => [c, name(i)]).filter(([c]) => c > 0).map(([c, n]) => `${n}: ${c}`).join('; ') },
      svg('path', { class: 'axis', d: `M6 88H${width - 6}` }), ...all,
      svg('text', { x: 6, y: 104 }, ends[0]), svg('text', { x: width / 2, y: 104, 'text-anchor': 'middle' }, ends[1]),
      svg('text', { x: width - 6, y: 104, 'text-anchor': 'end' }, ends[2]));
  }

  function section(title, name, ...children) {
    return el('section', { class: name, 'aria-label': title }, el('h2', {}, title), ...children);
  }

  function fact(name, value, more) {
    return el('div', {}, el('dt', {}, name), el('dd', {}, value, more ? el('small', {}, more) : null));
  }

  // Sections beside each other, those that are null left out.
  function columns(wide, thin) {
    const there = (sections) => sections.filter((section) => section !== null);
    return el('div', { class: 'columns' }, el('div', { class: 'wide' }, ...there(wide)), el('div', { class: 'thin' }, ...there(thin)));
  }

  // Everything about a feature. `page.named(feature)` and `page.href(feature)` are of its neighbours, `page.pointed(bin)` is told
  // of a bin of the histogram that is pointed at; `page.parts` are the names of a crosscoder's parts; `page.above`, `page.beside`, `page.before` and `page.behind` are what the page
  // has beside: above the number, behind the label, before the examples and behind the neighbours.
  function sheet(feature, tokens, page) {
    const first = feature.labels[0];
    const chart = histogram(feature.edges, feature.counts, page.pointed);
    const examples = (all) => el('ol', { class: 'examples' }, ...all.map((one) => example(one, tokens, feature.max)));
    const all = (kind) => feature.near.filter(([own]) => own === kind);
    const fires = feature.density === 0 ? 'never' : percent(feature.density);
    const neighbours = [['decoder', 'Writes like', 'cosine of what they write'], ['coactivation', 'Fires with', 'of the tokens of a sample on which either fires, both do']];
    const none = (text) => el('p', { class: 'soft' }, text);
    const wide = [
      ...(page.before || []),
      feature.labels.length < 2 ? null : section('Further labels', 'of-labels', labels(feature.labels.slice(1))),
      section('Strongest examples', 'of-top', feature.top.length === 0 ? none('It never fired.') : examples(feature.top)),
      feature.sampled.length === 0 ? null : section('Over all strengths', 'of-sampled',
        none('Drawn evenly from everything on which it fires: what it is usually like.'), examples(feature.sampled)),
    ];
    if ((feature.bands || []).length > 0) {
      const band = (one) => el('li', {}, el('h3', {}, `${number(one.from)} to ${number(one.to)}`, el('small', {}, ` ${percent(one.part)} of its firings`)), examples(one.examples));
      wide.push(section('Strength by strength', 'of-bands', none('Fifths of the range of its activations: does it mean the same where it is weak?'),
        el('ul', { class: 'bands' }, ...feature.bands.map(band))));
    }
    if ((feature.miss || []).length > 0) {
      const missed = (one) => el('li', {}, el('ol', { class: 'examples' }, example(one, tokens, feature.max)),
        el('p', { class: 'soft' }, 'here fires ', el('a', { href: page.href(one.by), dir: 'auto' }, el('b', {}, String(one.by)), ' ' + (page.named(one.by) === null ? 'no label' : line(page.named(one.by))))));
      wide.push(section('Silent here', 'of-miss', none('A feature that is near to it fires most at the marked word, and it does not.'),
        el('ul', { class: 'misses' }, ...feature.miss.map(missed))));
    }
    const thin = [
      section('Activations', 'of-chart', chart.node),
      feature.parts ? section('In the parts', 'of-parts', none(feature.parts.kind), parts(feature.parts, page.parts || [])) : null,
      feature.up.length === 0 ? null : section('Makes likelier', 'of-up', effects(feature.up, 'up')),
      feature.down.length === 0 ? null : section('Makes less likely', 'of-down', effects(feature.down, 'down')),
      ...neighbours.filter(([kind]) => all(kind).length > 0).map(([kind, title, meaning]) =>
        section(title, 'of-' + kind, none(meaning), near(all(kind), page.named, page.href))),
      ...(page.behind || []),
    ];
    const head = el('header', { class: 'title' }, page.above || null,
      el('p', { class: 'soft' }, `feature ${feature.id}`),
      el('h1', { dir: 'auto', class: first ? '' : 'none' }, first ? line(first.text) : 'no label'),
      ...(first ? standing(first) : [el('p', { class: 'from' }, 'Nothing simple holds of it; its examples say what there is to say.')]),
      page.beside || null,
      el('dl', { class: 'facts' },
        fact('Fires on', fires, 'of tokens'),
        fact('Strongest', number(feature.max), 'activation'),
        fact('Mean', number(feature.mean), 'where it fires'),
        fact('Held out', feature.held.toLocaleString('en'), 'firings behind scores')));
    return { nodes: [head, columns(wide, thin)], chart };
  }

  // Tokens of `main` that are pointed at, by pointer or by keys: each is told in `tip`, and shown in `chart()`, the histogram that
  // is there. Returns `hush()`, after which nothing is pointed at, and `pointed(bin)` for the histogram: the other way round.
  function pointing(main, tip, chart) {
    let at = null;
    function point(token) {
      if (at !== null) at.classList.remove('at');
      at = token;
      if (token === null) { hush(); return; }
      const { text, value } = token.untangle;
      token.classList.add('at');
      if (chart()) chart().mark(value);
      tip.replaceChildren(el('code', {}, `"${line(text)}"`), value === 0 ? ' it does not fire' : ` ${number(value)}`);
      tip.hidden = false;
      const box = token.getBoundingClientRect();
      const below = box.bottom + tip.offsetHeight + 10 < window.innerHeight;
      tip.style.left = Math.max(6, Math.min(box.left, window.innerWidth - tip.offsetWidth - 6)) + 'px';
      tip.style.top = (below ? box.bottom + 6 : box.top - tip.offsetHeight - 6) + 'px';
    }
    function hush() {
      if (at !== null) at.classList.remove('at');
      at = null;
      tip.hidden = true;
      if (chart()) chart().mark(null);
    }
    // A bin that is pointed at, and the tokens whose activations lie in it.
    function pointed(edges) {
      main.classList.toggle('filtered', edges !== null);
      for (const token of main.querySelectorAll('.t')) {
        const value = token.untangle.value;
        token.classList.toggle('in', edges !== null && value >= edges[0] && value < edges[1]);
      }
    }
    // A finger leaves when it is lifted; what it touched stays until it touches something else.
    function over(event) {
      const token = event.target.closest && event.target.closest('.t');
      if (token && token.untangle) point(token); else if (at !== null) point(null);
    }
    main.addEventListener('pointerover', (event) => { if (event.pointerType !== 'touch') over(event); });
    main.addEventListener('pointerleave', (event) => { if (event.pointerType !== 'touch') point(null); });
    main.addEventListener('click', over);
    main.addEventListener('focusout', (event) => { if (event.target.classList.contains('text')) point(null); });
    document.addEventListener('scroll', hush, { passive: true });
    // Within an example, arrow keys go from token to token.
    main.addEventListener('keydown', (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step || !event.target.classList.contains('text')) return;
      event.preventDefault();
      const tokens = [...event.target.children].filter((token) => token.untangle);
      const from = tokens.indexOf(at);
      const to = from < 0 ? Math.max(0, tokens.findIndex((token) => token.classList.contains('peak'))) : from + step;
      if (tokens[to]) point(tokens[to]);
    });
    return { hush, pointed };
  }

  untangle.parts = { el, svg, visible, line, number, percent, shade, example, histogram, effects, score, standing, labels, near, bars,
    section, fact, columns, sheet, pointing };
})();
