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
    return `${line(one.t.map((t) => tokens[t]).join('')).trim()}. Fires on ${named.join(', ')}.`;
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
    const said = el('figcaption', { role: 'status' });
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
    return { node: el('figure', { class: 'histogram' }, drawing, said), mark: show, bin };
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
    const names = { f1: 'F1 on held-out text' };
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

  untangle.parts = { el, svg, visible, line, number, percent, shade, example, histogram, effects, score, standing, labels, near, bars };
})();
