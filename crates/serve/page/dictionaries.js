// Dictionaries as they are as a whole: how many features, how often they fire, how well their labels hold.
import { href } from './address.js';
import { learn, post } from './ask.js';
import { card, el, gaveUp, latest, line, number, parts, percent, wrong } from './draw.js';
import { quality } from './quality.js';
import { noDictionary } from './prompt.js';
import { nothingKnown } from './search.js';

export const dictionaries = { title: 'Dictionary', open };

async function open(main, place, world) {
  if (world.dictionaries.length === 0) { main.append(noDictionary()); return {}; }
  const asks = latest();
  const signal = asks.begin();
  main.append(el('h1', { class: 'away' }, 'Dictionaries'));
  const shown = world.dictionaries.map((one) => ({ one, node: el('article', { class: 'dictionary', 'aria-label': line(one.name) }, head(one)) }));
  const compared = el('div', { class: 'list compared' });
  main.append(compared, ...shown.map(({ node }) => node));
  quality().then((cards) => compared.replaceChildren(...cards));
  (async () => {
    for (const { one, node } of shown) {
      if (!one.described) { node.append(nothingKnown(one)); continue; }
      try { node.append(...whole(one, await post('/api/v1/overview', { dictionary: one.name }, signal), world)); } catch (error) { if (gaveUp(error)) return; node.append(wrong(error)); }
    }
  })();
  return { close: asks.stop };
}

function head(one) {
  const n = (value) => value.toLocaleString('en');
  const where = [one.hook && `at ${line(one.hook)}`, one.writes && `writes at ${line(one.writes)}`].filter(Boolean).join(', ');
  return el('header', { class: 'title' }, el('p', { class: 'soft' }, `${line(one.kind)}, ${line(one.architecture)}${one.k ? ` of ${one.k}` : ''}`), el('h2', { class: 'h1', dir: 'auto' }, line(one.name)),
    el('p', { class: 'soft' }, `${where}${where ? '; ' : ''}${n(one.features)} features of activations ${n(one.width)} wide`),
    one.described ? el('p', { class: 'soft small' }, `described from ${n(one.described.rows)} tokens of ${line(one.described.store)}${one.described.model ? `, by ${line(one.described.model)}` : ''}; labels by ${one.described.sources.map(line).join(', ') || 'nobody'}`) : null,
    one.notes.length === 0 ? null : el('ul', { class: 'notes' }, ...one.notes.map((note) => el('li', {}, line(note)))));
}

function whole(one, told, world) {
  const n = (value) => value.toLocaleString('en');
  learn(one.name, told.best);
  const decade = (i) => (i - told.densities.length) / told.bins_per_decade;
  const density = (i) => `${percent(10 ** decade(i))} to ${percent(10 ** decade(i + 1))} of tokens`;
  const score = (i) => `F1 ${(i / told.scores.length).toFixed(2)} to ${((i + 1) / told.scores.length).toFixed(2)}`;
  const to = (path, asked) => href(path, { d: world.tag(one.name), ...asked });
  const figure = (name, value, more, link) => el('div', {}, el('dt', {}, name), el('dd', {}, link ? el('a', { href: link }, value) : value, more ? el('small', {}, more) : null));
  return [el('dl', { class: 'facts' },
    figure('Features', n(told.features)), figure('Labelled', n(told.labelled), percent(told.labelled / Math.max(1, told.features)), to('search', { only: 'labelled' })),
    figure('Mean F1', told.mean_f1 === null ? '–' : number(told.mean_f1), 'of labels, on held-out text'),
    figure('Dead', n(told.dead), 'never fired', to('search', { only: 'dead' })), figure('Dense', n(told.dense), 'on more than 10 %', to('search', { sort: 'density' }))),
  el('div', { class: 'three' },
    card('To begin with', el('ol', { class: 'best' }, ...told.best.map(({ feature, label }) => el('li', {}, el('a', { href: to(`feature/${feature}`), dir: 'auto' }, el('b', {}, String(feature)), ' ' + line(label || 'no label')))))),
    card('How often features fire', parts.bars(told.densities, density, [percent(10 ** decade(0)), 'part of tokens', 'always'])),
    card('How well labels hold', parts.bars(told.scores, score, ['F1 0', 'on held-out text', '1'])))];
}
