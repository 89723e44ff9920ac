// Steering: features in a tray, and what the model writes by itself beside what it writes with them, from one seed.
import { address, href, keep } from './address.js';
import { Fault, Unreachable, events, known, line as lookUp, learn, post } from './ask.js';
import { area, button, card, copied, el, empty, field, gaveUp, latest, later, line, number, range, select, sentence, wrong } from './draw.js';
import { dose } from './dose.js';
import { noDictionary } from './prompt.js';
import { towards } from './toward.js';
import * as toml from './toml.js';
import * as tray from './tray.js';

const { OPERATORS, PLACES } = tray;
const USUAL = { n: 60, t: 0.8, seed: 1 };
let before = null; // what was asked last, for whoever comes back without an address that says it

export const steer = { title: 'Steer', open };

async function open(main, place, world) {
  const { asked } = place;
  if (world.dictionaries.length === 0) { main.append(noDictionary()); return {}; }
  const d = () => address().asked.get('d');
  if (asked.has('s')) tray.put(asked.getAll('s'));
  const count = (name) => { const value = Number(asked.get(name)); return asked.has(name) && Number.isFinite(value) ? value : USUAL[name]; };
  const state = { prompt: asked.get('prompt') || '', n: count('n'), t: count('t'), seed: count('seed'), chat: asked.get('chat') === '1' && world.chat };
  if (before && !asked.has('s') && !asked.has('prompt')) Object.assign(state, before);
  before = state;
  const tell = () => keep('steer', { d: d(), prompt: state.prompt, n: state.n === USUAL.n ? '' : state.n, t: state.t === USUAL.t ? '' : state.t, seed: state.seed === USUAL.seed ? '' : state.seed, chat: state.chat, s: tray.all().map(tray.words) });
  const asks = latest();
  const [left, right] = [el('div', { class: 'steering' }), el('div', { class: 'written' })];
  main.append(el('h1', { class: 'away' }, 'Steer'), el('div', { class: 'bench' }, left, right));

  // The tray.
  const list = el('ol', { class: 'tray' });
  const trayCard = card('Tray', list, finder(place, world));
  const toward = towards(place, world, () => state, (words) => { tray.put([...tray.all().map(tray.words), words]); write(); });
  const recipe = recipes();
  left.append(trayCard, toward.node, recipe);

  const rows = new Map();
  function drawTray() {
    const all = tray.all();
    for (const [item] of rows) if (!all.includes(item)) rows.delete(item);
    if (all.length === 0) {
      list.replaceChildren(el('li', { class: 'nothing' }, empty('The tray is empty.', 'Find a feature below, or take one from a prompt with +. Then write, and see what it does to the text.', starter())));
    } else {
      list.replaceChildren(...all.map((item) => { if (!rows.has(item)) rows.set(item, trayRow(item)); return rows.get(item); }));
    }
    tell();
  }

  // For whoever has nothing in mind: a feature of whole passages, set to what it is at its strongest, and a beginning.
  function starter() {
    const dictionary = world.named(d());
    if (!dictionary.described) return null;
    const node = button('show me one', async () => {
      node.disabled = true;
      try {
        const ask = (text) => post('/api/v1/search', { dictionary: dictionary.name, text, sort: 'score', limit: 20, max_density: 0.1 });
        const { features } = await ask('in passages').then((found) => (found.features.length > 0 ? found : ask('')));
        if (features.length === 0) return;
        learn(dictionary.name, features);
        const { feature } = features[Math.floor(Math.random() * Math.min(8, features.length))];
        const { feature: one, tokens } = await post('/api/v1/feature', { dictionary: dictionary.name, feature: features[0].feature });
        if (state.prompt === '' && one.sampled.length > 0) {
          state.prompt = one.sampled[0].t.slice(0, 8).map((t) => tokens[t]).join('').replace(/\s+/g, ' ').replace(/^[^\p{L}]+/u, '').trim();
          box.put(state.prompt);
        }
        tray.add(world.tag(dictionary.name), feature, 'set');
        write();
      } catch (error) { node.replaceWith(wrong(error)); }
    });
    return el('p', {}, node);
  }

  function trayRow(item) {
    const name = world.named(item.dictionary) ? world.named(item.dictionary).name : item.dictionary;
    const label = el('a', { href: href(`feature/${item.feature}`, { d: item.dictionary }), dir: 'auto' }, el('b', {}, String(item.feature)), ' …');
    const put = (told) => label.replaceChildren(el('b', {}, String(item.feature)), ' ', told && told.label ? line(told.label) : el('i', {}, 'no label'));
    const told = known(name, item.feature);
    if (told) put(told); else lookUp(name, item.feature).then(put);
    const on = el('input', { type: 'checkbox', checked: item.on, 'aria-label': `Feature ${item.feature} is used` });
    on.addEventListener('change', () => tray.change(item, { on: on.checked }));
    const controls = el('div', { class: 'controls' });
    const redraw = () => {
      const operator = OPERATORS[item.operator];
      const out = el('input', { type: 'number', class: 'amount-in', step: 'any', value: String(Number(item.amount.toFixed(4))), 'aria-label': `Strength of feature ${item.feature}` });
      const unit = item.plain ? '' : tray.unit(item);
      const plain = unit === '' && !operator.factor;
      const told = known(name, item.feature);
      const scale = plain && told && told.max_activation > 0 ? told.max_activation : plain ? 10 : 1;
      const slider = operator.none ? null : range({ min: operator.low * scale, max: operator.high * scale, step: operator.step * scale, value: item.amount, 'aria-label': `${operator.says}, feature ${item.feature}` },
        (value) => { out.value = String(Number(value.toFixed(4))); item.amount = value; tray.change(item, {}); });
      out.addEventListener('change', () => { const value = Number(out.value); if (Number.isFinite(value) && out.value !== '') { if (slider) slider.value = String(value); tray.change(item, { amount: value }); } });
      const ticks = unit === 'x' ? 'times its largest activation' : unit === 'n' ? 'of the activation’s length' : operator.factor ? 'times' : 'units';
      controls.replaceChildren(
        select(null, Object.entries(OPERATORS).map(([key, one]) => [key, one.name]), item.operator, (key) => { tray.change(item, { operator: key, amount: OPERATORS[key].usual ?? 0, plain: false }); redraw(); }, `What is done to feature ${item.feature}`),
        slider || el('span', { class: 'soft grow' }, 'as if it never fired'), operator.none ? '' : el('span', { class: 'measure', title: ticks }, out, unit),
        item.when ? el('span', { class: 'soft small' }, `when ${line(item.when)}`) : '', select(null, placesOf(item), item.at, (at) => tray.change(item, { at }), `Where feature ${item.feature} is turned`));
    };
    redraw();
    return el('li', {}, el('div', { class: 'row' }, on, label, button('×', () => tray.remove(item), { class: 'quiet', 'aria-label': `Take feature ${item.feature} out of the tray` })), controls);
  }

  const placesOf = (item) => (PLACES.some(([at]) => at === item.at) ? PLACES : [...PLACES, [item.at, item.at]]);

  // The prompt, and how it is continued.
  const box = area('prompt', 'Prompt', state.prompt, (text) => { state.prompt = text; tell(); }, { placeholder: state.chat ? 'What is said to the model' : 'The beginning of a text' });
  box.addEventListener('keydown', (event) => { if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) { event.preventDefault(); write(); } });
  const count_ = (id, label, value, attributes, changed) => {
    const node = el('input', { type: 'number', id, value: String(value), ...attributes });
    node.addEventListener('change', () => { if (node.value !== '' && node.checkValidity()) { changed(Number(node.value)); tell(); } });
    return field(label, node, 'inline');
  };
  const seedField = count_('seed', 'Seed', state.seed, { min: 0, step: 1 }, (value) => { state.seed = value; });
  const another = button('another', () => { state.seed = Math.floor(Math.random() * 1e6); seedField.querySelector('input').value = String(state.seed); tell(); write(); }, { title: 'Another seed, the same for both texts' });
  const run = el('button', { class: 'main', id: 'write' }, 'Write');
  const stop = button('Stop', () => { asks.stop(); finished('Stopped.'); }, { hidden: true });
  const share = button('copy link', () => { tell(); copied(location.href, share, 'copied'); });
  const talks = el('input', { type: 'checkbox', id: 'chat', checked: state.chat });
  talks.addEventListener('change', () => { state.chat = talks.checked; tell(); });
  const form = el('form', { class: 'ask' }, box, el('div', { class: 'row' }, run, stop,
    count_('tokens', 'Tokens', state.n, { min: 1, max: world.context, step: 1 }, (value) => { state.n = value; }), count_('temperature', 'Temperature', state.t, { min: 0, max: 5, step: 'any' }, (value) => { state.t = value; }),
    seedField, another, world.chat ? el('label', { class: 'check' }, talks, ' as a conversation') : null, share));
  form.addEventListener('submit', (event) => { event.preventDefault(); write(); });
  const place_ = el('p', { class: 'soft', role: 'status' });
  const plain = pane('As it is', 'by itself');
  const turned = pane('Steered', 'steered');
  const out = el('div', { class: 'pair' }, plain.node, turned.node);
  const more = dose(world, () => state);
  right.append(form, place_, out, more.node);

  function pane(title, name) {
    const text = el('div', { class: 'story', dir: 'auto', role: 'region', tabindex: '0', 'aria-label': `${title}, text` });
    const note = el('p', { class: 'soft small words-of' });
    return { text, note, node: el('section', { class: `card ${name === 'steered' ? 'turned' : ''}`, 'aria-label': title }, el('h2', {}, title), note, text) };
  }

  function hint() {
    plain.text.replaceChildren(el('p', { class: 'soft' }, 'What the model writes by itself.'));
    turned.text.replaceChildren(el('p', { class: 'soft' }, 'The same beginning and the same seed, with the features of the tray turned: what differs is theirs.'));
  }

  const finished = (text) => { run.hidden = false; stop.hidden = true; place_.textContent = text; };

  // Both texts, side by side, token by token.
  async function write() {
    if (state.prompt.trim() === '') { place_.textContent = 'Write the beginning of a text first.'; box.focus(); return; }
    tell();
    const signal = asks.begin();
    run.hidden = true;
    stop.hidden = false;
    place_.textContent = 'Writing …';
    const texts = ['', ''];
    const asked = { max_tokens: state.n, temperature: state.t, seed: state.seed, stream: true };
    const body = state.chat ? { ...asked, messages: [{ role: 'user', content: state.prompt }] } : { ...asked, prompt: state.prompt };
    const path = state.chat ? '/v1/chat/completions' : '/v1/completions';
    const steering = tray.steering();
    turned.note.textContent = steering.length === 0 ? 'Nothing is turned: both texts are the same.' : '';
    if (steering.length > 0) turned.note.append(...steering.flatMap((words, i) => [i > 0 ? ', ' : '', el('code', {}, line(words))]));
    const piece = (which) => (event) => {
      const choice = event.choices[0];
      if (!choice) return;
      texts[which] += (state.chat ? choice.delta.content : choice.text) || '';
      drawTexts(texts);
    };
    const place = (before) => { place_.textContent = before > 0 ? `${before} ${before === 1 ? 'text is' : 'texts are'} before these …` : 'Writing …'; };
    drawTexts(texts);
    try {
      await Promise.all([events(path, body, piece(0), { signal }), events(path, { ...body, steering }, piece(1), { signal, place })]);
      finished(texts[0] === texts[1] ? 'Both texts are the same.' : 'Written. Words that the model by itself did not write are marked.');
    } catch (error) {
      if (gaveUp(error)) return;
      asks.stop();
      finished('');
      place_.replaceChildren(wrong(explained(error)));
      if (error instanceof Unreachable) world.away();
    }
  }

  const wordsOf = (text) => new Set(text.toLowerCase().match(/[\p{L}\p{N}]+/gu) || []);

  // Of the steered text those words are marked that the other has not.
  function drawTexts([own, other]) {
    const given = () => el('span', { class: 'given' }, state.chat ? '' : state.prompt);
    plain.text.replaceChildren(given(), own);
    const known = wordsOf(state.prompt + ' ' + own);
    const pieces = own === other ? [other] : other.split(/([\p{L}\p{N}]+)/u).map((piece, i) => (i % 2 === 1 && piece.length > 2 && !known.has(piece.toLowerCase()) ? el('mark', {}, piece) : piece));
    turned.text.replaceChildren(given(), ...pieces);
  }

  // Recipes: all of it as a text that can be kept and given to others.
  function recipes() {
    const box = el('textarea', { id: 'recipe', rows: 8, spellcheck: 'false', 'aria-label': 'Recipe as TOML' });
    const says = el('p', { class: 'soft small', role: 'status' });
    // What is switched off stays out: the command line would make it.
    const told = () => toml.write({ ...world.origin, steer: tray.steering() }, { prompt: state.prompt, max_tokens: state.n, temperature: state.t, seed: state.seed, chat: state.chat });
    const save = button('save', () => {
      const url = URL.createObjectURL(new Blob([told()], { type: 'application/toml' }));
      const link = el('a', { href: url, download: 'recipe.toml' });
      document.body.append(link); link.click(); link.remove(); URL.revokeObjectURL(url);
    });
    const file = el('input', { type: 'file', accept: '.toml,application/toml', 'aria-label': 'Recipe from a file' });
    file.addEventListener('change', async () => { if (file.files[0]) { box.value = await file.files[0].text(); load(); file.value = ''; } });
    const load = () => {
      try {
        const { recipe, own } = toml.read(box.value);
        const bad = recipe.steer.find((words) => !tray.read(words));
        if (bad !== undefined) throw new Error(`the tray cannot show ${bad}`);
        const usual = (item) => ({ ...item, at: item.at || recipe.at || '', when: item.when || recipe.when || '' });
        tray.put(recipe.steer.map((words) => tray.words(usual(tray.read(words)))));
        Object.assign(state, { prompt: String(own.prompt ?? state.prompt), n: Number(own.max_tokens) || USUAL.n, t: Number(own.temperature ?? USUAL.t), seed: Number(own.seed ?? USUAL.seed) || 0, chat: own.chat === true && world.chat });
        tell();
        const other = recipe.model && recipe.model !== world.origin.model;
        says.textContent = other ? `Loaded; it was made with ${line(recipe.model)}, and this is ${line(world.origin.model)}.` : 'Loaded.';
        box_().put(state.prompt);
        for (const [id, value] of [['tokens', state.n], ['temperature', state.t], ['seed', state.seed]]) document.getElementById(id).value = String(value);
      } catch (error) { says.textContent = sentence(error.message); }
    };
    const box_ = () => document.getElementById('prompt');
    const details = el('details', { class: 'card' }, el('summary', {}, el('h2', {}, 'Recipe')), el('p', { class: 'soft' }, 'Interventions as a file of untangle steer --recipe, to keep or to give away; prompt and seed stand in it as comments.'), box,
      el('div', { class: 'row' }, save, button('load from the text', load), el('label', { class: 'field inline' }, el('span', {}, 'or a file'), file)), says);
    const renew = () => { if (document.activeElement !== box) box.value = told(); };
    details.addEventListener('toggle', renew);
    details.renew = renew;
    renew();
    return details;
  }

  drawTray();
  hint();
  const deaf = tray.whenChanged(() => { drawTray(); recipe.renew(); });
  if (state.prompt !== '' && asked.has('s')) write();
  return {
    moved({ asked: now }) { if (now.has('s')) return false; tell(); return true; },
    close() { asks.stop(); toward.stop(); more.stop(); deaf(); },
  };
}

// What the server says of an intervention names it by its place; people know it by its words.
function explained(error) {
  const at = error instanceof Fault && /^steering\[(\d+)\]/.exec(error.param || '');
  const words = at ? tray.steering()[Number(at[1])] : null;
  return words ? new Error(`${words}: ${error.message}`) : error;
}

// Finds features by words, and takes them into the tray.
function finder(place, world) {
  const asks = latest();
  const out = el('ol', { class: 'found' });
  const find = async (text) => {
    if (text.trim() === '') { asks.stop(); out.replaceChildren(); return; }
    const dictionary = world.named(address().asked.get('d'));
    const take = (feature, label) => el('li', {}, button('', () => { tray.add(world.tag(dictionary.name), feature); input.value = ''; out.replaceChildren(); input.focus(); }, { class: 'take' }));
    const entry = (feature, label) => { const node = take(feature, label); node.firstChild.append(el('b', {}, String(feature)), ' ', label ? line(label) : el('i', {}, 'no label')); return node; };
    const number_ = /^\d+$/.test(text.trim()) && Number(text) < dictionary.features ? [entry(Number(text), known(dictionary.name, Number(text))?.label)] : [];
    if (!dictionary.described) { out.replaceChildren(...number_); return; }
    try {
      const { features } = await post('/api/v1/search', { dictionary: dictionary.name, text, limit: 8 }, asks.begin());
      learn(dictionary.name, features);
      out.replaceChildren(...number_, ...features.map((one) => entry(one.feature, one.label)));
      if (out.children.length === 0) out.append(el('li', { class: 'soft' }, 'No feature has these words.'));
    } catch (error) { if (!gaveUp(error)) out.replaceChildren(el('li', {}, wrong(error))); }
  };
  const soon = later(150, find);
  const input = el('input', { type: 'search', id: 'add', placeholder: 'words or a number', autocomplete: 'off', spellcheck: 'false' });
  input.addEventListener('input', () => soon(input.value));
  return el('div', { class: 'finder' }, field('Add a feature', input), out);
}
