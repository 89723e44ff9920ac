// Charts with axes: lines that grow, and points with a front. What they show stands beside them in words and in a table.
import { el, line, svg } from './draw.js';

const [WIDE, HIGH, LEFT, RIGHT, TOP, BOTTOM] = [460, 230, 58, 14, 10, 38];
const COLOURS = 8;

export const short = (value) => (value === 0 ? '0' : Math.abs(value) >= 1e4 ? value.toLocaleString('en', { notation: 'compact', maximumFractionDigits: 1 }) : String(Number(value.toPrecision(3))));

// A scale around values; `decades` where all of them are above 0.
function scale(values, decades, from, to) {
  const all = values.filter((value) => Number.isFinite(value) && (!decades || value > 0));
  let [low, high] = all.length === 0 ? (decades ? [1, 10] : [0, 1]) : [Math.min(...all), Math.max(...all)];
  const turn = decades ? Math.log10 : (value) => value;
  if (low === high) [low, high] = decades ? [low / 2, high * 2] : [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
  const place = (value) => from + ((turn(value) - turn(low)) / (turn(high) - turn(low))) * (to - from);
  return { place, ticks: decades ? decadesIn(low, high) : evenly(low, high) };
}

function evenly(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find((times) => times * power >= rough);
  const ticks = [];
  for (let at = Math.ceil(low / step - 1e-9) * step; at <= high + step * 1e-9; at += step) ticks.push(Math.abs(at) < step * 1e-9 ? 0 : at);
  return ticks;
}

function decadesIn(low, high) {
  const few = [];
  for (const steps of [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9]]) {
    few.length = 0;
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) for (const step of steps) few.push(step * 10 ** power);
    const inside = few.filter((value) => value >= low * 0.999 && value <= high * 1.001);
    if (inside.length >= 3) return inside;
  }
  return few.filter((value) => value >= low * 0.999 && value <= high * 1.001);
}

function frame({ title, says, x, y }, across, up) {
  const bottom = HIGH - BOTTOM;
  const text = (attributes, content) => { const node = svg('text', attributes); node.textContent = content; return node; };
  const node = svg('svg', { viewBox: `0 0 ${WIDE} ${HIGH}`, role: 'img', 'aria-label': `${title}: ${says}` },
    ...up.ticks.flatMap((tick) => [svg('path', { class: 'grid', d: `M${LEFT} ${up.place(tick).toFixed(1)}H${WIDE - RIGHT}` }), text({ x: LEFT - 6, y: up.place(tick) + 4, 'text-anchor': 'end' }, short(tick))]),
    ...across.ticks.map((tick) => text({ x: across.place(tick), y: bottom + 15, 'text-anchor': 'middle' }, short(tick))),
    svg('path', { class: 'axis', d: `M${LEFT} ${TOP}V${bottom}H${WIDE - RIGHT}` }),
    text({ class: 'named', x: (LEFT + WIDE - RIGHT) / 2, y: HIGH - 5, 'text-anchor': 'middle' }, x),
    text({ class: 'named', transform: `translate(12 ${(TOP + bottom) / 2}) rotate(-90)`, 'text-anchor': 'middle' }, y));
  return node;
}

const scales = (points, { xDecades, yDecades }) => [
  scale(points.map(([x]) => x), xDecades, LEFT, WIDE - RIGHT),
  scale(points.map(([, y]) => y), yDecades, HIGH - BOTTOM, TOP),
];
const colour = (at) => `c${at % COLOURS}${at % (2 * COLOURS) >= COLOURS ? ' again' : ''}`;
const figure = (labels, picture) => el('figure', { class: 'chart' }, el('h3', {}, labels.title), picture, labels.under ? el('figcaption', {}, labels.under) : null);

// Lines: each a name, points, and the number of its colour.
export function lines(labels, series, decades = {}) {
  const [across, up] = scales(series.flatMap(({ points }) => points), decades);
  const node = frame(labels, across, up);
  for (const { points, colour: at } of series) {
    const shown = points.filter(([, y]) => !decades.yDecades || y > 0);
    const d = shown.map(([x, y], i) => `${i === 0 ? 'M' : 'L'}${across.place(x).toFixed(1)} ${up.place(y).toFixed(1)}`).join('');
    node.append(svg('path', { class: `run-line ${colour(at)}`, d }));
  }
  return figure(labels, node);
}

// Points: each a name, where it is, the number of its colour, and whether it is a baseline. The front joins those others do not beat.
export function points(labels, all) {
  const decades = { xDecades: all.every(({ at: [x] }) => x > 0), yDecades: all.every(({ at: [, y] }) => y > 0) };
  const [across, up] = scales(all.map(({ at }) => at), decades);
  const node = frame(labels, across, up);
  const place = ({ at: [x, y] }) => [across.place(x).toFixed(1), up.place(y).toFixed(1)];
  node.append(svg('path', { class: 'front', d: front(all).map((one, i) => `${i === 0 ? 'M' : 'L'}${place(one).join(' ')}`).join('') }));
  for (const one of all) {
    const [x, y] = place(one);
    const about = svg('title', {});
    about.textContent = `${line(one.name)}: L0 ${short(one.at[0])}, FVU ${short(one.at[1])}${one.baseline ? ', a baseline' : ''}`;
    const mark = one.baseline ? svg('path', { class: `hollow ${colour(one.colour)}`, d: `M${x - 5} ${y - 5}l10 10m0 -10l-10 10` }, about) : svg('circle', { class: `dot ${colour(one.colour)}`, cx: x, cy: y, r: 5 }, about);
    node.append(mark);
  }
  return figure(labels, node);
}

// Those than which no other has both less, by the first number.
export function front(all) {
  let best = Infinity;
  return [...all].filter(({ baseline }) => !baseline).sort((a, b) => a.at[0] - b.at[0] || a.at[1] - b.at[1]).filter(({ at: [, y] }) => { const better = y < best; best = Math.min(best, y); return better; });
}

export const swatch = (at) => el('span', { class: `swatch ${colour(at)}`, 'aria-hidden': 'true' });
