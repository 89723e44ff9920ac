// Trainings, live while they go on: how far each is, and its error, active and dead features and loss over steps.
import { href, keep } from './address.js';
import { Unreachable, get } from './ask.js';
import { card, el, empty, line, percent } from './draw.js';
import { lines, short, swatch } from './chart.js';

export const runs = { title: 'Runs', open };

const PAUSE = 2000; // between two looks
const STATES = { running: 'running', stopped: 'stopped', finished: 'finished' };

export const noRuns = (folder) => empty('There is no training to look at.', folder ? `Nothing in ${line(folder)} is one yet. This page shows it as soon as its first step is logged.` : 'Start the server with the folder in which dictionaries are trained, and this page shows how they come along.',
  el('pre', { tabindex: '0' }, el('code', {}, `untangle train ACTIVATIONS.h5 --out ${folder ? line(folder) : 'RUNS'}/sae\n${folder ? '' : 'untangle serve MODEL --sae SAE --runs RUNS'}`.trim())));

async function open(main, place, world) {
  let hidden = new Set(place.asked.getAll('hide'));
  let timer = 0;
  let closed = false;
  let all = [];
  const table = el('div', { class: 'scrolls', tabindex: '0', role: 'region', 'aria-label': 'Table of trainings' });
  const charts = el('div', { class: 'charts' });
  const says = el('p', { class: 'soft', role: 'status' });
  const rest = el('div', { class: 'list' }, says, card('Trainings', table), charts);
  const nothing = el('div', {});
  main.append(el('h1', { class: 'away' }, 'Runs'), nothing, rest);
  const tell = () => keep('runs', { d: place.asked.get('d'), hide: [...hidden] });

  function draw(list) {
    all = list.runs;
    rest.hidden = all.length === 0;
    nothing.replaceChildren(...(all.length === 0 ? [noRuns(list.folder)] : []));
    if (all.length === 0) return;
    const live = all.filter((run) => run.state === 'running').length;
    const told = `${all.length === 1 ? 'One training' : `${all.length} trainings`}${list.folder ? ` in ${line(list.folder)}` : ''}; ${live === 0 ? 'none is running' : live === 1 ? 'one is running' : `${live} are running`}.`;
    if (says.textContent !== told) says.textContent = told;
    const at = document.activeElement && table.contains(document.activeElement) ? document.activeElement.id : null;
    table.replaceChildren(el('table', {}, el('thead', {}, el('tr', {}, ...['Shown', 'Name', 'State', 'Progress', 'FVU', 'L0', 'Dead'].map((name) => el('th', { scope: 'col' }, name)))), el('tbody', {}, ...all.map(row))));
    if (at) { const again = document.getElementById(at); if (again) again.focus(); }
    const shown = all.map((run, colour) => ({ run, colour })).filter(({ run }) => !hidden.has(run.name) && run.curve.length > 0);
    const chart = (title, y, under, of, decades) => lines({ title, y, x: 'steps', under, says: `${shown.length} ${shown.length === 1 ? 'line' : 'lines'} over steps; the last values stand in the table` }, shown.map(({ run, colour }) => ({ colour, points: run.curve.map((p) => [p.step, of(p)]) })), { yDecades: decades });
    charts.replaceChildren(...(shown.length === 0 ? [empty('No training is shown.', 'Tick one in the table.')] : [
      chart('Error', 'running FVU', 'The part of the variance that the reconstruction misses; lower is better.', (p) => p.fvu, true),
      chart('Active features', 'L0', 'How many features fire at a token.', (p) => p.l0, false),
      chart('Loss', 'loss', 'Squared error of a row, as training sees it.', (p) => p.loss, true),
      chart('Dead features', 'features', 'Those that have been silent for long.', (p) => p.dead, false)]));
  }

  function row(run, i) {
    const last = run.curve.at(-1);
    const part = last && run.steps ? Math.min(1, last.step / run.steps) : null;
    const box = el('input', { type: 'checkbox', id: `run-${i}`, checked: !hidden.has(run.name), 'aria-label': `Show ${line(run.name)}` });
    box.addEventListener('change', () => { hidden = new Set(hidden); if (box.checked) hidden.delete(run.name); else hidden.add(run.name); tell(); draw({ runs: all, folder }); });
    const name = run.dictionary ? el('a', { href: href('dictionaries', { d: world.tag(run.dictionary) }) }, line(run.name)) : line(run.name);
    const progress = part === null ? (last ? `step ${short(last.step)}` : 'no step yet')
      : [el('progress', { max: 1, value: part, 'aria-label': `${line(run.name)}, progress` }), ` ${percent(part)}`];
    return el('tr', {}, el('td', {}, box), el('th', { scope: 'row', dir: 'auto' }, swatch(i), name, run.summary ? el('small', { class: 'soft' }, line(run.summary) + (run.frozen ? `, ${line(run.frozen)} frozen` : '')) : null),
      el('td', {}, el('span', { class: `state ${run.state}` }, STATES[run.state])), el('td', {}, ...[progress].flat()),
      ...(last ? [last.fvu.toFixed(3), last.l0.toFixed(1), last.dead.toLocaleString('en')] : ['–', '–', '–']).map((value) => el('td', {}, value)));
  }

  let folder = null;
  async function look() {
    if (closed) return;
    try { const list = await get('/api/v1/runs'); folder = list.folder; if (!closed) draw(list); } catch (error) { if (error instanceof Unreachable && !closed) { world.away(); return; } throw error; }
    // What nobody looks at is not asked for.
    const again = () => { timer = setTimeout(() => (document.hidden ? again() : look()), PAUSE); };
    if (!closed) again();
  }
  await look();
  return { close() { closed = true; clearTimeout(timer); }, moved({ asked }) { hidden = new Set(asked.getAll('hide')); draw({ runs: all, folder }); return true; } };
}
