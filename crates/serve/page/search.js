// Features that are looked for: by words of labels, texts and tokens, by score, by how often they fire, or by number.
import { href, keep } from './address.js';
import { learn, post } from './ask.js';
import { button, card, el, empty, field, gaveUp, latest, later, line, number, often, select, wrong } from './draw.js';
import { noDictionary, toTray } from './prompt.js';
import * as tray from './tray.js';

const SORTS = [['match', 'best match'], ['score', 'F1 of the label'], ['density', 'how often'], ['activation', 'largest activation'], ['number', 'number']];
const ONLY = [['', 'all'], ['labelled', 'with a label'], ['unlabelled', 'without a label'], ['alive', 'that fire'], ['dead', 'that never fired']];
const KINDS = [['', 'any label'], ['input', 'what makes it fire'], ['output', 'what it makes the model say']];
const PAGE = 50;

export const search = { title: 'Search', open };

async function open(main, place, world) {
  const { asked, dictionary } = place;
  if (!dictionary) { main.append(noDictionary()); return {}; }
  const state = { text: asked.get('q') || '', sort: asked.get('sort') || 'match', only: asked.get('only') || '', kind: asked.get('kind') || '', reversed: asked.has('turned'), rare: asked.has('rare') };
  const tell = () => keep('search', { d: world.tag(dictionary.name), q: state.text, sort: state.sort === 'match' ? '' : state.sort, only: state.only, kind: state.kind, turned: state.reversed, rare: state.rare });
  const asks = latest();
  const input = el('input', { type: 'search', id: 'find', value: state.text, placeholder: 'words of a label, a text or a token, or a number', autocomplete: 'off', spellcheck: 'false', 'aria-label': 'Find features' });
  const turn = button(state.reversed ? '↑' : '↓', () => { state.reversed = !state.reversed; turn.textContent = state.reversed ? '↑' : '↓'; turn.setAttribute('aria-pressed', String(state.reversed)); find(); }, { 'aria-pressed': String(state.reversed), 'aria-label': 'Turn the order round', title: 'Turn the order round' });
  const rare = el('input', { type: 'checkbox', id: 'rare', checked: state.rare });
  rare.addEventListener('change', () => { state.rare = rare.checked; find(); });
  const out = el('div', { class: 'out' });
  const set = (name) => (value) => { state[name] = value; find(); };
  const form = el('form', { class: 'ask', role: 'search' }, input, el('div', { class: 'row' },
    field('Order', select('sort', SORTS, state.sort, set('sort')), 'inline'), turn, field('Which', select('only', ONLY, state.only, set('only')), 'inline'),
    field('Label of', select('kind', KINDS, state.kind, set('kind')), 'inline'), el('label', { class: 'check' }, rare, ' on at most 1 %')));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const first = out.querySelector('.lines a');
    if (/^\d+$/.test(state.text.trim())) location.hash = href(`feature/${Number(state.text)}`, { d: world.tag(dictionary.name) });
    else if (first) first.focus();
  });
  input.addEventListener('input', () => { state.text = input.value; soon(); });
  input.addEventListener('keydown', (event) => { if (event.key === 'ArrowDown') { const first = out.querySelector('.lines a'); if (first) { event.preventDefault(); first.focus(); } } });
  main.append(el('h1', { class: 'away' }, 'Search'), form, out);
  if (!matchMedia('(pointer: coarse)').matches) input.focus();
  const soon = later(150, find);

  let list = null;
  async function find() {
    tell();
    if (!dictionary.described) { out.replaceChildren(nothingKnown(dictionary)); return; }
    try {
      const found = await page(0, asks.begin());
      list = el('ol', { class: 'lines' });
      const count = el('p', { class: 'soft', role: 'status' });
      const more = button('show more', async () => { try { fill(await page(list.children.length, asks.begin()), count, more); } catch (error) { if (!gaveUp(error)) more.replaceWith(wrong(error)); } });
      const title = state.text.trim() ? `Features for “${line(state.text.trim())}”` : 'Features';
      out.replaceChildren(card(title, count, list, more));
      fill(found, count, more);
      if (found.features.length === 0) list.replaceWith(empty('No feature is like that.', state.text.trim() ? 'Try a part of the word: words are found by their beginnings, in labels, in the texts on which features fire, and in the tokens that they raise.' : 'Ask for less.'));
    } catch (error) { if (!gaveUp(error)) out.replaceChildren(wrong(error)); }
  }

  const page = (offset, signal) => post('/api/v1/search', { dictionary: dictionary.name, text: state.text, sort: state.sort, only: state.only || null, kind: state.kind || null,
    reversed: state.reversed, max_density: state.rare ? 0.01 : null, limit: PAGE, offset }, signal);

  function fill({ features, more: goesOn }, count, more) {
    learn(dictionary.name, features);
    list.append(...features.map(row));
    const n = list.children.length;
    count.textContent = n === 0 ? '' : `${n.toLocaleString('en')}${goesOn ? ' of more' : ''} ${n === 1 ? 'feature' : 'features'}, of ${dictionary.features.toLocaleString('en')}`;
    more.hidden = !goesOn;
  }

  function row(one) {
    const score = one.label_score === null ? null : el('span', { title: 'F1 of the label on held-out text' }, `F1 ${one.label_score.toFixed(2)}`);
    return el('li', {}, el('span', { class: 'value soft' }, String(one.feature)),
      el('a', { href: href(`feature/${one.feature}`, { d: world.tag(dictionary.name) }), dir: 'auto' }, one.label ? line(one.label) : el('i', {}, 'no label')),
      el('span', { class: 'soft small facts-line' }, score, el('span', {}, often(one.density)), el('span', {}, `up to ${number(one.max_activation)}`)), toTray(world, dictionary, one.feature));
  }

  await find();
  const deaf = tray.whenChanged(() => out.querySelectorAll('.to-tray').forEach((node) => node.renew()));
  const key = (pressed) => {
    const step = { j: 1, k: -1, ArrowDown: 1, ArrowUp: -1 }[pressed];
    const links = [...out.querySelectorAll('.lines a')];
    const at = links.indexOf(document.activeElement);
    if (!step || links.length === 0 || (at < 0 && pressed.startsWith('Arrow'))) return false;
    links[Math.min(links.length - 1, Math.max(0, at + step))].focus();
    return true;
  };
  return { key, close() { asks.stop(); deaf(); } };
}

export const nothingKnown = (dictionary) => empty('Nothing is known of its features yet.', `${line(dictionary.name)} has ${dictionary.features.toLocaleString('en')} features, and no database that says what they are about. Make one, and start the server with it:`,
  el('pre', { tabindex: '0' }, el('code', {}, 'untangle features SAE --store ACTIVATIONS.h5 --model MODEL --out FEATURES.db\nuntangle serve MODEL --sae SAE --features FEATURES.db')));
