'use strict';
// The list of all features: loaded file by file, narrowed down, ordered, and drawn as far as it is seen.
(function () {
  const { el, line, number, percent } = untangle.parts;
  const HEIGHT = 54; // of a line, as the style sheet has it
  const AROUND = 6; // lines drawn above and below what is seen
  const LABEL = 0, SCORE = 1, DENSITY = 2, MAX = 3, KINDS = 4, WORDS = 5;
  const ORDERS = {
    score: (line) => (line[SCORE] === null ? -1 : line[SCORE]),
    density: (line) => line[DENSITY],
    max: (line) => line[MAX],
    id: (line, id) => -id,
  };
  const ONLY = {
    labelled: (line) => (line[KINDS] & 1) !== 0,
    unlabelled: (line) => (line[KINDS] & 1) === 0 && line[DENSITY] > 0,
    output: (line) => (line[KINDS] & 2) !== 0,
    rare: (line) => line[DENSITY] > 0 && line[DENSITY] <= 0.01,
    dense: (line) => line[DENSITY] > 0.1,
    dead: (line) => line[DENSITY] === 0,
  };

  // `href(id)` is where the page of a feature is.
  untangle.List = class {
    constructor(box, lines, count, href) {
      Object.assign(this, { box, lines, count, href, rows: [], folded: [], found: [], current: null, drawn: '' });
      this.query = { text: '', sort: 'score', turned: false, only: '' };
      this.total = untangle.data.run().features;
      box.addEventListener('scroll', () => this.draw(), { passive: true });
      window.addEventListener('resize', () => this.draw());
    }

    // Loads the files one after another; what is there is listed meanwhile.
    async load() {
      const run = untangle.data.run();
      const files = Math.ceil(run.features / run.index_shard);
      let listed = 0;
      for (let file = 0; file < files; file++) {
        const rows = await untangle.data.index(file);
        for (const row of rows) {
          this.rows.push(row);
          this.folded.push(((row[LABEL] || '') + '\n' + row[WORDS]).toLowerCase());
        }
        if (file === 0 || file === files - 1 || performance.now() - listed > 400) {
          this.apply();
          listed = performance.now();
        }
      }
    }

    label(id) {
      const row = this.rows[id];
      return row === undefined ? null : row[LABEL];
    }

    ask(query) {
      Object.assign(this.query, query);
      this.apply();
      this.box.scrollTop = 0;
      this.draw();
    }

    apply() {
      const { text, sort, turned, only } = this.query;
      const words = text.toLowerCase().split(/\s+/).filter((word) => word !== '');
      const fits = ONLY[only] || (() => true);
      const named = /^\d+$/.test(text.trim()) ? Number(text) : -1;
      const found = [];
      this.rows.forEach((row, id) => {
        if (id === named || (fits(row) && words.every((word) => this.folded[id].includes(word)))) found.push(id);
      });
      const value = ORDERS[sort] || ORDERS.score;
      const keys = new Map(found.map((id) => [id, value(this.rows[id], id)]));
      const way = turned ? -1 : 1;
      // What has no score comes last either way, and a number that is asked for first.
      const last = (id) => (sort === 'score' && this.rows[id][SCORE] === null ? 1 : 0);
      found.sort((a, b) => (b === named) - (a === named) || last(a) - last(b) || way * (keys.get(b) - keys.get(a)) || a - b);
      this.found = found;
      this.place = new Map(found.map((id, at) => [id, at]));
      const whole = this.rows.length === this.total;
      const of = found.length === this.rows.length ? '' : ` of ${this.rows.length.toLocaleString('en')}`;
      this.count.textContent = `${found.length.toLocaleString('en')}${of} features${whole ? '' : ', loading'}`;
      this.lines.style.height = HEIGHT * found.length + 'px';
      this.drawn = '';
      this.draw();
    }

    // The feature before or after one; the first or last where it is not listed.
    beside(id, step) {
      const at = this.place.get(id);
      if (at === undefined) return this.found[step > 0 ? 0 : this.found.length - 1];
      return this.found[Math.min(this.found.length - 1, Math.max(0, at + step))];
    }

    select(id, scroll) {
      this.current = id;
      const at = this.place ? this.place.get(id) : undefined;
      if (scroll && at !== undefined) {
        const [top, bottom] = [at * HEIGHT, (at + 1) * HEIGHT];
        if (top < this.box.scrollTop) this.box.scrollTop = top;
        else if (bottom > this.box.scrollTop + this.box.clientHeight) this.box.scrollTop = bottom - this.box.clientHeight;
      }
      this.drawn = '';
      this.draw();
    }

    draw() {
      const first = Math.max(0, Math.floor(this.box.scrollTop / HEIGHT) - AROUND);
      const last = Math.min(this.found.length, Math.ceil((this.box.scrollTop + this.box.clientHeight) / HEIGHT) + AROUND);
      const drawn = `${first}-${last}`;
      if (drawn === this.drawn) return;
      this.drawn = drawn;
      const focused = this.lines.contains(document.activeElement) ? document.activeElement.getAttribute('href') : null;
      this.lines.replaceChildren(...this.found.slice(first, last).map((id, i) => this.row(id, first + i)));
      if (focused !== null) {
        const again = [...this.lines.querySelectorAll('a')].find((a) => a.getAttribute('href') === focused);
        if (again) again.focus({ preventScroll: true });
      }
    }

    row(id, at) {
      const row = this.rows[id];
      const score = row[SCORE] === null ? '' : `F1 ${row[SCORE].toFixed(2)}`;
      const fires = row[DENSITY] === 0 ? 'dead' : percent(row[DENSITY]);
      const item = el('li', { 'aria-posinset': at + 1, 'aria-setsize': this.found.length },
        el('a', { href: this.href(id), 'aria-current': id === this.current ? 'page' : null },
          el('span', { class: 'id' }, String(id)),
          el('span', { class: row[LABEL] === null ? 'name none' : 'name', dir: 'auto' }, row[LABEL] === null ? line(row[WORDS]) || 'no label' : line(row[LABEL])),
          el('span', { class: 'facts' }, el('span', {}, score), el('span', {}, fires), el('span', {}, row[MAX] === 0 ? '' : `max ${number(row[MAX])}`))));
      item.style.top = at * HEIGHT + 'px';
      return item;
    }
  };
})();
