// A feature: everything that is known of it, and how strongly it fires on what is typed.
import { href, keep } from './address.js';
import { Fault, learn, post } from './ask.js';
import { area, button, copied, el, empty, gaveUp, latest, later, line, number, parts, percent, wrong } from './draw.js';
import { toTray } from './prompt.js';
import * as tray from './tray.js';

export const feature = { title: 'Feature', open };

async function open(main, place, world) {
  const { rest: [id], asked, dictionary } = place;
  const number_ = /^\d+$/.test(id || '') ? Number(id) : null;
  if (!dictionary || number_ === null || number_ >= dictionary.features) {
    main.append(el('h1', { class: 'away' }, 'Nothing here'), empty('There is no such feature.', dictionary ? `${line(dictionary.name)} has features 0 to ${dictionary.features - 1}.` : 'No dictionary is served.',
      el('p', {}, el('a', { href: '#/search' }, 'Search for one'))));
    return {};
  }
  const to = (other) => href(`feature/${other}`, { d: world.tag(dictionary.name) });
  const beside = pager(number_, dictionary, to);
  const key = (pressed) => {
    const step = { j: 1, k: -1 }[pressed];
    if (step && number_ + step >= 0 && number_ + step < dictionary.features) { location.hash = to(number_ + step); return true; }
    if (pressed === 'a') { main.querySelector('.title .to-tray').click(); return true; }
    return false;
  };
  let answer;
  try {
    answer = await post('/api/v1/feature', { dictionary: dictionary.name, feature: number_ });
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== 'no_database') throw error;
    main.append(...unknown(number_, dictionary, beside, world, asked));
    return { key };
  }
  const { feature: one, tokens, names } = answer;
  const first = one.labels[0];
  learn(dictionary.name, [{ feature: one.id, label: first ? first.text : null, label_score: null, density: one.density, max_activation: one.max, held_out_firings: one.held }]);
  document.title = `${one.id} ${first ? line(first.text) : ''} · ${line(dictionary.name)}`;
  let tested = null; // how strongly it fires in the text that is tried, which the histogram shows while nothing is pointed at
  const test = testBox(number_, dictionary, asked.get('test') || '', one, world, (value) => { tested = value; chart.mark(value); });
  const { nodes, chart } = parts.sheet(one, tokens, {
    named: (other) => names[other] ?? null, href: to, pointed: world.pointing.pointed,
    parts: dictionary.described ? dictionary.described.parts : [], above: beside, beside: actions(number_, dictionary, world), before: [test.node],
  });
  main.append(...nodes);
  const deaf = tray.whenChanged(() => main.querySelectorAll('.to-tray').forEach((node) => node.renew()));
  return { key, chart: () => ({ mark: (value) => chart.mark(value === null ? tested : value) }), close() { test.stop(); deaf(); } };
}

function pager(id, dictionary, to) {
  const beside = (other, text, says) => (other < 0 || other >= dictionary.features ? el('span', { class: 'soft' }, text) : el('a', { href: to(other), 'aria-label': says }, text));
  return el('p', { class: 'pager' }, el('span', { class: 'soft' }, line(dictionary.name), dictionary.hook ? ` at ${line(dictionary.hook)}` : ''),
    el('span', { class: 'row' }, beside(id - 1, '‹ before', 'the feature before'), beside(id + 1, 'next ›', 'the next feature')));
}

function actions(id, dictionary, world) {
  const link = button('copy link', () => copied(location.href, link, 'copied'));
  return el('div', { class: 'row actions' }, toTray(world, dictionary, id, true), el('a', { class: 'button', href: href('steer', { d: world.tag(dictionary.name) }) }, 'go to the tray'), link);
}

// Without a database: what can be said without one.
function unknown(id, dictionary, beside, world, asked) {
  const test = testBox(id, dictionary, asked.get('test') || '', null, world, () => {});
  return [el('header', { class: 'title' }, beside, el('p', { class: 'soft' }, `feature ${id}`), el('h1', { class: 'none' }, 'nothing is known of it yet'), actions(id, dictionary, world)),
    test.node, empty('Make a database of features.', 'It finds the texts on which each feature fires, a label and how well it holds, and what the feature makes the model say:',
      el('pre', { tabindex: '0' }, el('code', {}, `untangle features SAE --store ACTIVATIONS.h5 --model MODEL --out FEATURES.db\nuntangle serve MODEL --sae SAE --features FEATURES.db`)))];
}

// A text is read while it is typed, and shaded by the feature.
function testBox(id, dictionary, text, one, world, mark) {
  const asks = latest();
  const out = el('div', { class: 'tested' });
  const hint = () => out.replaceChildren(el('p', { class: 'soft' }, 'Does it do what its label says? Write something on which it should fire, and something on which it should not.'));
  const read = async (value) => {
    keep(`feature/${id}`, { d: world.tag(dictionary.name), test: value });
    if (value.trim() === '') { asks.stop(); hint(); mark(null); return; }
    try {
      const { texts: [{ tokens, activations }] } = await post('/api/v1/activations', { dictionary: dictionary.name, feature: id, texts: [value] }, asks.begin());
      const at = activations.reduce((best, now, i) => (now > activations[best] ? i : best), 0);
      const most = activations[at];
      const values = activations.flatMap((activation, i) => (activation === 0 ? [] : [i, activation]));
      const example = parts.example({ a: most, k: most > 0 ? at : -1, t: tokens.map((_, i) => i), v: values }, tokens, one && one.max > 0 ? one.max : most);
      const says = most > 0 ? `It fires most on “${line(tokens[at]).trim()}”: ${number(most)}${one && one.max > 0 ? `, ${percent(most / one.max)} of its largest` : ''}.` : 'It does not fire.';
      out.replaceChildren(el('ol', { class: 'examples' }, example), el('p', { class: 'soft', role: 'status' }, says));
      mark(most > 0 ? most : null);
    } catch (error) { if (!gaveUp(error)) out.replaceChildren(wrong(error)); }
  };
  const soon = later(120, read);
  const box = area('test', 'A text to try the feature on', text, soon, { placeholder: 'Type to see where it fires' });
  if (dictionary.reads && text !== '') read(text); else hint();
  const node = parts.section('Try it', 'of-test', dictionary.reads ? box : el('p', { class: 'soft' }, 'This crosscoder reads other models as well, which are not here.'), dictionary.reads ? out : null);
  return { node, stop: asks.stop };
}
