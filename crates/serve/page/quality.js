// Dictionaries beside each other: what each costs in active features, and what it misses. Baselines stand among them.
import { get } from './ask.js';
import { card, el, line, percent, wrong } from './draw.js';
import { front, points, short, swatch } from './chart.js';

// A card for each place that dictionaries were trained on, because errors of two places do not compare; none where nothing is known.
export async function quality() {
  let runs;
  try { ({ runs } = await get('/api/v1/runs')); } catch (error) { return [wrong(error)]; }
  const all = runs.filter((run) => run.state === 'finished' && run.curve.length > 0).map(measured);
  const subjects = [...new Set(all.map((one) => one.subject))];
  return subjects.map((subject) => one(subject, all.filter((run) => run.subject === subject), subjects.length > 1));
}

function measured(run) {
  const last = run.held_out || run.curve.at(-1);
  return { name: run.name, dictionary: run.dictionary, subject: run.subject || '', summary: run.summary, frozen: run.frozen, baseline: run.frozen !== null, at: [last.l0, last.fvu], dead: last.dead, held: run.held_out !== null };
}

function one(subject, runs, several) {
  const all = runs.map((run, colour) => ({ ...run, colour }));
  const best = new Set(front(all).map((run) => run.name));
  const rows = all.map((run) => el('tr', {}, el('th', { scope: 'row', dir: 'auto' }, swatch(run.colour), line(run.name), el('small', { class: 'soft' }, [run.summary && line(run.summary), run.baseline && `a baseline: ${line(run.frozen)} frozen`, run.dictionary && 'served here'].filter(Boolean).join('; '))),
    el('td', {}, short(run.at[0])), el('td', {}, run.at[1].toFixed(3)), el('td', {}, percent(1 - run.at[1])), el('td', {}, run.dead.toLocaleString('en')), el('td', {}, run.held ? 'unseen' : 'of training'), el('td', {}, best.has(run.name) ? 'yes' : 'no')));
  const heads = ['Name', 'L0', 'FVU', 'Explained', 'Dead', 'Rows', 'On the front'];
  const unseen = all.some((run) => !run.held) ? 'Figures “of training” are of its last batches, which is a little too kind; untangle evaluate SAE --store STORE --json > RUNS/figures.json has them measured on unseen rows.' : null;
  const chart = all.length < 2 ? null : points({ title: 'Few active features against a small error', x: 'L0, active features', y: 'FVU, what is missed', says: `${all.length} dictionaries, ${best.size} of them on the front; the table has the numbers`, under: 'The dashed line joins those that no other beats in both. Crosses are baselines.' }, all);
  return card(`Quality${several && subject ? ` at ${line(subject)}` : ''}`, el('div', { class: chart ? 'quality' : '' }, chart,
    el('div', {}, el('div', { class: 'scrolls', tabindex: '0', role: 'region', 'aria-label': 'Quality of dictionaries' }, el('table', {}, el('thead', {}, el('tr', {}, ...heads.map((name) => el('th', { scope: 'col' }, name)))), el('tbody', {}, ...rows))), unseen ? el('p', { class: 'soft small' }, unseen) : null)));
}
