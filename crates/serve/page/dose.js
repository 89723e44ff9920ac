// Dose and response: the tray turned up step by step, and what the model writes at each step.
import { Unreachable, post } from './ask.js';
import { button, el, gaveUp, latest, line, number, percent, svg, wrong } from './draw.js';
import * as tray from './tray.js';

const TIMES = [0, 0.25, 0.5, 0.75, 1, 1.5, 2];
const TEXTS = 8;

export function dose(world, asked) {
  const asks = latest();
  const word = el('input', { id: 'counted', placeholder: 'a word to count', autocomplete: 'off' });
  const out = el('div', { 'aria-live': 'polite' });
  const go = button('Try strengths', () => run());
  const node = el('details', { class: 'card' }, el('summary', {}, el('h2', {}, 'Dose and response')),
    el('p', { class: 'soft' }, `The strengths of the tray, times ${TIMES.join(', ')}: ${TEXTS} texts of each, from the same seeds. Text that goes round in circles is no longer text.`),
    el('div', { class: 'row' }, el('label', { class: 'field inline', for: 'counted' }, el('span', {}, 'Texts with'), word), go), out);

  // An intervention at a multiple of its strength; taking out has none.
  const scaled = (item, times) => tray.words({ ...item, amount: item.amount * times });
  const can = (item) => !tray.OPERATORS[item.operator].none && item.operator !== 'mul';

  async function run() {
    const { prompt, n, t, seed } = asked();
    const items = tray.all().filter((item) => item.on);
    if (prompt.trim() === '' || !items.some(can)) { out.replaceChildren(el('p', { class: 'soft' }, 'It needs a prompt, and something in the tray that has a strength.')); return; }
    const signal = asks.begin();
    const rungs = [];
    try {
      for (const times of TIMES) {
        const steering = times === 0 ? [] : items.map((item) => (can(item) ? scaled(item, times) : tray.words(item)));
        const { choices } = await post('/v1/completions', { prompt, n: TEXTS, max_tokens: n, temperature: t, seed, steering }, signal);
        rungs.push({ times, texts: choices.map(({ text }) => text) });
        draw(rungs);
      }
    } catch (error) { if (!gaveUp(error)) { out.append(wrong(error)); if (error instanceof Unreachable) world.away(); } }
  }

  // Runs of four words that stood in the same text before, as a part of all.
  function repetition(texts) {
    let [again, all] = [0, 0];
    for (const text of texts) {
      const words = text.trim().split(/\s+/);
      const runs = words.slice(3).map((_, i) => words.slice(i, i + 4).join(' '));
      all += runs.length;
      again += runs.length - new Set(runs).size;
    }
    return all === 0 ? 0 : again / all;
  }

  function draw(rungs) {
    const wanted = word.value.trim().toLowerCase();
    const has = (text) => text.toLowerCase().split(/[^\p{L}\p{N}]+/u).includes(wanted);
    const points = rungs.map(({ times, texts }) => ({ times, texts, repeats: repetition(texts), hits: wanted ? texts.filter(has).length / texts.length : null }));
    const rows = points.map(({ times, texts, repeats, hits }) => el('tr', {}, el('th', { scope: 'row' }, times === 0 ? 'by itself' : `${number(times)} ×`), hits === null ? null : el('td', {}, percent(hits)), el('td', {}, percent(repeats)),
      el('td', { class: 'sample-cell' }, el('span', { dir: 'auto' }, line((texts.find((text) => wanted && has(text)) || texts[0]).trim())))));
    out.replaceChildren(chart(points, wanted), el('div', { class: 'scrolls', tabindex: '0', role: 'region', 'aria-label': 'Strengths' }, el('table', {}, el('thead', {}, el('tr', {}, el('th', { scope: 'col' }, 'Strength'), wanted ? el('th', { scope: 'col' }, `With “${line(wanted)}”`) : null, el('th', { scope: 'col' }, 'Repeats'), el('th', { scope: 'col' }, 'A text'))), el('tbody', {}, ...rows))));
  }

  function chart(points, wanted) {
    const [width, height] = [420, 130];
    const x = (times) => 34 + (width - 46) * times / TIMES.at(-1);
    const y = (part) => 10 + (height - 34) * (1 - part);
    const path = (of, name) => [svg('polyline', { class: `curve ${name}`, points: points.map((p) => `${x(p.times)},${y(of(p))}`).join(' ') }), ...points.map((p) => svg('circle', { class: `curve ${name}`, cx: x(p.times), cy: y(of(p)), r: 3 }))];
    return el('figure', { class: 'doses' }, svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': 'Parts by strength; the table below has the numbers' },
      svg('path', { class: 'axis', d: `M34 10V${height - 24}H${width - 10}` }), svg('text', { x: 28, y: 14, 'text-anchor': 'end' }, '100 %'), svg('text', { x: 28, y: height - 24, 'text-anchor': 'end' }, '0'),
      ...TIMES.map((times) => svg('text', { x: x(times), y: height - 8, 'text-anchor': 'middle' }, number(times))), ...path((p) => p.repeats, 'repeats'), ...(wanted ? path((p) => p.hits, 'hits') : [])),
    el('figcaption', {}, wanted ? el('span', { class: 'key hits' }, `texts with “${line(wanted)}”`) : null, el('span', { class: 'key repeats' }, 'repeats itself')));
  }

  return { node, stop: asks.stop };
}
