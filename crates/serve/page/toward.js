// “Find me a feature that makes it talk about …”: candidates are tried one after another, and the text says which serve.
import { address, href } from './address.js';
import { Unreachable, events } from './ask.js';
import { bar, button, card, el, gaveUp, latest, line, percent, wrong } from './draw.js';

// `asked()` is the prompt and how it is continued; `take(words)` takes an intervention into the tray.
export function towards(place, world, asked, take) {
  const asks = latest();
  const input = el('input', { id: 'concept', placeholder: 'such as bridge, or winter', autocomplete: 'off' });
  const out = el('div', { class: 'of-toward', 'aria-live': 'polite' });
  const go = el('button', { class: 'main' }, 'Find');
  const stop = button('Stop', () => { asks.stop(); ended(); }, { hidden: true });
  const form = el('form', {}, el('label', { class: 'field', for: 'concept' }, el('span', {}, 'Find me a feature that makes it talk about …'), input), el('div', { class: 'row' }, go, stop));
  const ended = () => { go.hidden = false; stop.hidden = true; };
  form.addEventListener('submit', (event) => { event.preventDefault(); find(); });

  async function find() {
    const { prompt, t, seed } = asked();
    if (input.value.trim() === '') { input.focus(); return; }
    if (prompt.trim() === '') { out.replaceChildren(el('p', { class: 'soft' }, 'Write the beginning of a text first, one that may go anywhere: it is continued with each feature.')); return; }
    const dictionary = world.named(address().asked.get('d'));
    const signal = asks.begin();
    go.hidden = true;
    stop.hidden = false;
    const rows = el('ol', { class: 'tried' });
    const says = el('p', { class: 'soft' }, 'Looking …');
    out.replaceChildren(says, rows);
    const labels = new Map();
    let [waiting, total] = [0, 0];
    try {
      await events('/api/v1/toward', { dictionary: dictionary.name, concept: input.value, prompt, temperature: t, seed }, (event) => {
        if (event.stage === 'candidates') {
          event.candidates.forEach((one) => labels.set(one.feature, one));
          total = event.candidates.length + 1;
          says.textContent = `${event.candidates.length} features may be about ${event.topic}. Each is tried; counted are texts ${event.sign}.`;
        } else if (event.stage === 'tried') {
          waiting += 1;
          says.textContent = waiting <= total ? `Tried ${Math.max(0, waiting - 1)} of ${total - 1} features …` : 'Trying other strengths of the best …';
          insert(rows, event, labels, dictionary);
        } else {
          const best = rows.querySelector(`[data-words="${CSS.escape(event.steering.join())}"]`);
          if (best) best.classList.add('best-of');
          says.replaceChildren(`${event.hits} of ${event.trials} texts are about it with `, el('code', {}, line(event.steering.join(', '))), '.  ', button('take it', () => take(event.steering[0]), { class: 'main' }));
        }
      }, { signal });
      if (!rows.querySelector('.best-of')) says.textContent = 'None of them makes the model write about it more often than it does by itself.';
    } catch (error) {
      if (!gaveUp(error)) { says.replaceChildren(wrong(error)); if (error instanceof Unreachable) world.away(); }
    }
    ended();
  }

  // Best first; the model itself stays on top.
  function insert(rows, tried, labels, dictionary) {
    const told = labels.get(tried.feature);
    const share = tried.hits / Math.max(1, tried.trials);
    const name = tried.feature === null ? el('span', { class: 'soft' }, 'the model by itself')
      : el('a', { href: href(`feature/${tried.feature}`, { d: world.tag(dictionary.name) }), dir: 'auto' }, el('b', {}, String(tried.feature)), ' ', told && told.label ? line(told.label) : el('i', {}, 'no label'));
    const words = tried.steering.join();
    const node = el('li', { class: tried.repetition > 0.2 ? 'broken' : null, 'data-words': words, 'data-hits': String(tried.feature === null ? Infinity : tried.hits) },
      el('span', { class: 'value', title: `95 %: ${percent(tried.interval[0])} to ${percent(tried.interval[1])}` }, `${tried.hits}/${tried.trials}`), bar(share, 'fire'),
      el('div', { class: 'name' }, name, el('span', { class: 'soft small' }, tried.feature === null ? '' : line(words.split(':').pop()), tried.repetition > 0.2 ? ` · repeats itself (${percent(tried.repetition)})` : '')),
      tried.feature === null ? el('span') : button('+', () => take(words), { class: 'to-tray', 'aria-label': `Take ${words} into the tray` }),
      el('details', { class: 'sample' }, el('summary', {}, 'a text'), el('p', { dir: 'auto' }, line(tried.sample))));
    const after = [...rows.children].find((row) => Number(row.dataset.hits) < Number(node.dataset.hits));
    rows.insertBefore(node, after || null);
  }

  return { node: card('Towards a topic', form, out), stop: asks.stop };
}
