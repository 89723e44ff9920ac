// Two texts, or two sets of them: which features fire more in one than in the other?
import { href, keep } from './address.js';
import { Unreachable, known, learn, post } from './ask.js';
import { area, card, el, empty, field, gaveUp, latest, line, number, percent, select, wrong } from './draw.js';
import { noDictionary, toTray } from './prompt.js';
import * as tray from './tray.js';

const MEASURES = [['mean', 'mean over tokens'], ['peak', 'mean of the strongest'], ['part', 'part of the texts']];
const SHOWN = 60;
const DENSE = 0.1;

export const compare = { title: 'Compare', open };

async function open(main, place, world) {
  const { asked, dictionary } = place;
  if (!dictionary) { main.append(noDictionary()); return {}; }
  const state = { a: asked.get('a') || '', b: asked.get('b') || '', by: asked.get('by') || 'mean' };
  const tell = () => keep('compare', { d: world.tag(dictionary.name), a: state.a, b: state.b, by: state.by === 'mean' ? '' : state.by });
  const asks = latest();
  const out = el('div', { class: 'out' });
  const side = (name, title) => field(title, area(name, title, state[name], (text) => { state[name] = text; tell(); }, { rows: 4, placeholder: 'One text, or one on every line' }));
  const form = el('form', { class: 'ask' }, el('div', { class: 'pair' }, side('a', 'A'), side('b', 'B')), el('div', { class: 'row' }, el('button', { class: 'main' }, 'Compare'),
    field('By', select('by', MEASURES, state.by, (value) => { state.by = value; tell(); if (found) draw(); }), 'inline')));
  form.addEventListener('submit', (event) => { event.preventDefault(); read(); });
  form.addEventListener('keydown', (event) => { if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) { event.preventDefault(); read(); } });
  main.append(el('h1', { class: 'away' }, 'Compare'), form, out);
  let found = null;
  const texts = (text) => text.split('\n').map((one) => one.trim()).filter(Boolean);

  async function read() {
    const sides = [texts(state.a), texts(state.b)];
    if (sides.some((all) => all.length === 0)) { hint(); return; }
    tell();
    const signal = asks.begin();
    out.setAttribute('aria-busy', 'true');
    try {
      found = [];
      for (const all of sides) {
        const read = [];
        for (const prompt of all) {
          const answer = await post('/api/v1/read', { dictionary: dictionary.name, prompt, top: 1000 }, signal);
          learn(dictionary.name, answer.features);
          read.push(answer.tokens.filter((token) => !token.special).map((token) => token.features));
        }
        found.push(read);
      }
      draw();
    } catch (error) { if (!gaveUp(error)) { out.replaceChildren(wrong(error)); if (error instanceof Unreachable) world.away(); } }
    out.removeAttribute('aria-busy');
  }

  // Of every feature how much it fires in a set.
  function measured(all) {
    const sums = new Map();
    const n = state.by === 'mean' ? all.reduce((sum, tokens) => sum + tokens.length, 0) : all.length;
    for (const tokens of all) {
      const own = new Map();
      for (const features of tokens) for (const { feature, activation } of features) {
        const before = own.get(feature) || 0;
        own.set(feature, state.by === 'mean' ? before + activation : state.by === 'peak' ? Math.max(before, activation) : 1);
      }
      for (const [feature, value] of own) sums.set(feature, (sums.get(feature) || 0) + value);
    }
    return new Map([...sums].map(([feature, sum]) => [feature, sum / Math.max(1, n)]));
  }

  function draw() {
    const [a, b] = found.map(measured);
    const of = (map, feature) => map.get(feature) || 0;
    const unit = (feature) => { const told = known(dictionary.name, feature); return state.by !== 'part' && told && told.max_activation > 0 ? told.max_activation : 1; };
    const rows = [...new Set([...a.keys(), ...b.keys()])].map((feature) => ({ feature, a: of(a, feature), b: of(b, feature), by: (of(b, feature) - of(a, feature)) / unit(feature) }))
      .filter(({ feature, by }) => by !== 0 && !(known(dictionary.name, feature)?.density > DENSE)).sort((x, y) => Math.abs(y.by) - Math.abs(x.by) || x.feature - y.feature);
    const top = Math.max(...rows.map(({ by }) => Math.abs(by)), 1e-9);
    const told = (n, name) => `${n} ${n === 1 ? 'text' : 'texts'} in ${name}`;
    out.replaceChildren(card('What differs', el('p', { class: 'soft', role: 'status' }, `${told(found[0].length, 'A')}, ${told(found[1].length, 'B')}: ${rows.length.toLocaleString('en')} features differ; those that fire on over 10 % of tokens are left out.`),
      rows.length === 0 ? empty('Nothing differs.', 'The same features fire in both, as strongly.') : el('ol', { class: 'differences' },
        el('li', { class: 'heads', 'aria-hidden': 'true' }, el('span', {}, 'A'), el('span', { class: 'sides' }, el('span', {}, 'more in A'), el('span', {}, 'more in B')), el('span', {}, 'B'), el('span', {}, 'feature'), el('span')),
        ...rows.slice(0, SHOWN).map((one) => row(one, top)))));
    world.say(`${rows.length} features differ.`);
  }

  function row({ feature, a, b, by }, top) {
    const told = known(dictionary.name, feature);
    const say = (value) => (state.by === 'part' ? percent(value) : number(value));
    const bar = el('span', { class: 'diverging ' + (by < 0 ? 'to-a' : 'to-b'), 'aria-hidden': 'true' });
    bar.style.setProperty('--w', (50 * Math.abs(by) / top).toFixed(1) + '%');
    return el('li', {}, el('span', { class: 'value' }, say(a)), bar, el('span', { class: 'value' }, say(b)),
      el('a', { href: href(`feature/${feature}`, { d: world.tag(dictionary.name) }), dir: 'auto' }, el('b', {}, String(feature)), ' ', told && told.label ? line(told.label) : el('i', {}, 'no label')), toTray(world, dictionary, feature));
  }

  const hint = () => out.replaceChildren(empty('Which features tell two texts apart?', 'Write one text on each side, or a set with one on every line: two moods, two topics, a question asked honestly and slyly. What fires more on one side stands first.'));
  if (texts(state.a).length > 0 && texts(state.b).length > 0) read(); else hint();
  const deaf = tray.whenChanged(() => out.querySelectorAll('.to-tray').forEach((node) => node.renew()));
  return { close() { asks.stop(); deaf(); } };
}
