// Looks at dashboards as a reader does: dashboard.mjs CHROMIUM FOLDER SHOTS, with plain, nasty and large in the folder.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const { chromium } = await import(pathToFileURL(process.env.PLAYWRIGHT_CORE).href);
const [executablePath, folder, shots] = process.argv.slice(2);
// The sandbox of a browser does not start for root.
const browser = await chromium.launch({ executablePath, args: process.getuid() === 0 ? ['--no-sandbox'] : [] });
const WIDE = { width: 1280, height: 900 };
const NARROW = { width: 390, height: 844 };
let [passed, failed] = [0, 0];

async function test(name, work) {
  try {
    await work();
    passed += 1;
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}\n${error.stack}`);
  }
}

// Opens a page; what it asks for beside files of its folder, and what goes wrong in it, ends up in `page.faults`.
async function open(name, hash = '', viewport = WIDE, colorScheme = 'light', more = {}) {
  const context = await browser.newContext({ viewport, colorScheme, ...more });
  const page = await context.newPage();
  page.faults = [];
  const home = pathToFileURL(path.join(folder, name)).href + '/';
  page.on('request', (request) => { if (!request.url().startsWith(home)) page.faults.push(`asks for ${request.url()}`); });
  page.on('pageerror', (error) => page.faults.push(error.message));
  page.on('console', (message) => { if (message.type() === 'error') page.faults.push(message.text()); });
  page.on('dialog', (dialog) => { page.faults.push(`dialog ${dialog.message()}`); dialog.dismiss(); });
  await page.goto(home + 'index.html' + hash);
  await page.waitForSelector('#lines li');
  if (/\d/.test(hash)) await page.waitForSelector('main h1');
  return page;
}

async function close(page) {
  assert.deepEqual(page.faults, []);
  await page.context().close();
}

const settled = (page) => page.waitForFunction(() => !document.getElementById('count').textContent.includes('loading'));
const heading = (page) => page.textContent('main h1');
const numbers = (page) => page.$$eval('#lines .id', (all) => all.map((one) => Number(one.textContent)));

// Every text on the page whose contrast with what lies behind it is below AA of WCAG 2.
const contrasts = (page) => page.evaluate(() => {
  const parsed = (text) => {
    const all = (text.match(/-?[\d.]+(e-?\d+)?/g) || []).map(Number);
    const unit = text.startsWith('color(') ? 255 : 1;
    return { rgb: all.slice(0, 3).map((x) => x * unit), a: all.length > 3 ? all[3] : 1 };
  };
  const over = (top, below) => ({ rgb: top.rgb.map((x, i) => x * top.a + below.rgb[i] * (1 - top.a)), a: 1 });
  const light = (rgb) => {
    const linear = rgb.map((x) => x / 255).map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const behind = (node) => {
    const layers = [];
    for (let at = node; at; at = at.parentElement) layers.unshift(parsed(getComputedStyle(at).backgroundColor));
    return layers.filter((layer) => layer.a > 0).reduce((below, layer) => over(layer, below), { rgb: [255, 255, 255], a: 1 });
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const parent = node.parentElement;
    const style = getComputedStyle(parent);
    if (node.textContent.trim() === '' || parent.getClientRects().length === 0 || /^(NOSCRIPT|OPTION)$/.test(parent.tagName)) continue;
    const ground = behind(parent);
    const text = over(parsed(parent instanceof SVGElement ? style.fill : style.color), ground);
    const [a, b] = [light(text.rgb), light(ground.rgb)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (large ? 3 : 4.5)) poor.push(`${parent.tagName}.${parent.className.baseVal ?? parent.className} ${ratio.toFixed(2)} "${node.textContent.trim().slice(0, 24)}"`);
  }
  return poor;
});

await test('65,536 features: painted within a second, all listed soon, moved through', async () => {
  const page = await open('large');
  const paint = await page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0].startTime);
  const rows = await page.evaluate(() => document.querySelectorAll('#lines li').length);
  assert.ok(paint < 1000 && rows > 10, `painted after ${paint} ms, ${rows} lines`);
  const begun = Date.now();
  await settled(page);
  assert.equal(await page.textContent('#count'), '65,536 features');
  console.log(`        first paint ${paint.toFixed(0)} ms, all listed ${Date.now() - begun} ms later`);
  assert.ok((await page.evaluate(() => document.querySelectorAll('#lines li').length)) < 60, 'only what is seen is drawn');
  await page.fill('#find', '65535');
  await page.press('#find', 'Enter');
  await page.waitForFunction(() => document.title.startsWith('65535'));
  await close(page);
});

await test('the list is searched, ordered and narrowed down, and the address says how', async () => {
  const page = await open('plain');
  await settled(page);
  await page.selectOption('#sort', 'id');
  assert.deepEqual((await numbers(page)).slice(0, 3), [0, 1, 2]);
  await page.click('#turn');
  assert.equal((await numbers(page))[0], await page.evaluate(() => untangle.data.run().features - 1));
  await page.selectOption('#only', 'labelled');
  const labelled = await page.textContent('#count');
  await page.fill('#find', 'bridge');
  const names = await page.$$eval('#lines .name', (all) => all.map((one) => one.textContent.toLowerCase()));
  assert.ok(names.length > 0 && labelled !== (await page.textContent('#count')));
  const hash = await page.evaluate(() => location.hash);
  assert.ok(['q=bridge', 'sort=id', 'turned=1', 'only=labelled'].every((part) => hash.includes(part)), hash);
  const before = await numbers(page);
  await page.reload();
  await page.waitForSelector('#lines li');
  await settled(page);
  assert.deepEqual(await numbers(page), before);
  assert.equal(await page.inputValue('#find'), 'bridge');
  await close(page);
});

await test('keys go through the features', async () => {
  const page = await open('plain');
  await settled(page);
  const order = await numbers(page);
  await page.keyboard.press('j');
  await page.waitForFunction((id) => document.title.startsWith(`${id} `), order[0]);
  await page.keyboard.press('j');
  await page.keyboard.press('j');
  await page.keyboard.press('k');
  await page.waitForFunction((id) => document.title.startsWith(`${id} `), order[1]);
  assert.equal(await page.getAttribute('#lines a[aria-current]', 'href'), `#/${order[1]}`);
  await page.keyboard.press('/');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'find');
  await page.keyboard.press('Escape');
  await page.keyboard.press('?');
  assert.ok(await page.isVisible('#keys'));
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => !document.getElementById('keys').open);
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => location.hash === '#/');
  await close(page);
});

await test('tokens and histogram point at each other, by pointer and by keys', async () => {
  const page = await open('plain', '#/7');
  const mark = () => page.getAttribute('.mark', 'visibility');
  assert.equal(await mark(), 'hidden');
  await page.hover('.of-top .t.peak');
  assert.equal(await mark(), 'visible');
  const shown = await page.textContent('#tip');
  const value = await page.$eval('.of-top .t.peak', (token) => token.untangle.value);
  assert.ok(shown.includes(String(Number(value.toPrecision(3)))), `${shown} and ${value}`);
  await page.hover('h1');
  assert.equal(await mark(), 'hidden');
  const bin = await page.$$eval('.histogram .bin', (all) => all.findIndex((one) => Number(one.querySelector('.bar').getAttribute('height')) > 0));
  await page.locator('.histogram .bin .hover').nth(bin).hover();
  const said = await page.textContent('.histogram figcaption');
  const wrong = await page.evaluate((said) => {
    const [low, high] = said.match(/[\d.e-]+/g).map(Number);
    const tokens = [...document.querySelectorAll('.t')];
    return tokens.filter((token) => token.classList.contains('in') !== (token.untangle.value >= low * 0.99 && token.untangle.value < high * 1.01) &&
      Math.abs(token.untangle.value / low - 1) > 0.02 && Math.abs(token.untangle.value / high - 1) > 0.02).length;
  }, said);
  assert.equal(wrong, 0, said);
  await page.hover('h1');
  await page.focus('.of-top .text');
  await page.keyboard.press('ArrowRight');
  assert.equal(await mark(), 'visible');
  assert.equal(await page.$$eval('.t.at.peak', (all) => all.length), 1);
  await page.keyboard.press('ArrowLeft');
  assert.equal(await page.$$eval('.t.at.peak', (all) => all.length), 0);
  await page.focus('.histogram svg');
  await page.keyboard.press('ArrowRight');
  assert.match(await page.textContent('.histogram figcaption'), / to .* tokens, /);
  const other = page.locator('.near a').first();
  const id = await other.locator('b').textContent();
  await other.click();
  await page.waitForFunction((id) => document.title.startsWith(id), id);
  await close(page);
});

await test('whatever a database says is text', async () => {
  const page = await open('nasty', '#/3');
  await settled(page);
  assert.equal(await page.$$eval('img, main script, main b', (all) => all.filter((one) => !one.closest('.near, .of-miss')).length), 0);
  const text = await page.evaluate(() => document.body.textContent + document.title);
  assert.ok((await heading(page)).includes('</script><img src=x onerror=alert(1)><b>'));
  assert.ok(text.includes('\\u001b[31m\\u0007\\u202egnp.\\u2066\\u2028${1}'));
  assert.ok(!/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069\u2028]/.test(text), 'something that acts');
  await page.goto(page.url().replace('#/3', '#/about'));
  await page.waitForFunction(() => document.querySelector('main h1').textContent.includes('onerror'));
  await close(page);
});

await test('390 pixels are enough', async () => {
  const page = await open('plain', '', NARROW, 'light', { hasTouch: true });
  await settled(page);
  const overflows = () => page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
  assert.ok(!(await overflows()) && (await page.isVisible('.side')));
  await page.screenshot({ path: path.join(shots, 'narrow-list.png') });
  await page.tap('#lines li:nth-child(2) a');
  await page.waitForSelector('main .of-top');
  assert.ok(!(await page.isVisible('.side')) && !(await overflows()));
  const wide = await page.$$eval('main *', (all) => all.filter((one) => !one.closest('pre') && one.getBoundingClientRect().right > 391 && !one.closest('svg')).map((one) => one.className));
  assert.deepEqual(wide, []);
  await page.tap('.of-top .t.peak');
  assert.ok(await page.isVisible('#tip'));
  await page.screenshot({ path: path.join(shots, 'narrow-feature.png'), fullPage: true });
  await page.tap('.back a');
  await page.waitForFunction(() => document.body.className === 'at-home');
  await page.tap('#home');
  await page.waitForSelector('main .of-densities');
  assert.ok((await page.isVisible('main .of-densities')) && !(await overflows()));
  await close(page);
});

for (const scheme of ['light', 'dark']) {
  await test(`every text can be read, ${scheme}, and strength is seen without colours`, async () => {
    for (const [hash, name] of [['#/about', 'home'], ['#/7', 'feature']]) {
      const page = await open('plain', hash, WIDE, scheme);
      await settled(page);
      assert.deepEqual(await contrasts(page), [], hash);
      await page.screenshot({ path: path.join(shots, `${name}-${scheme}.png`) });
      if (name === 'feature') {
        const shades = await page.evaluate(() => {
          const token = document.querySelector('.t');
          return [0.18, 0.4, 0.6, 0.8, 1].map((a) => {
            token.style.setProperty('--a', a);
            const [r, g, b, alpha] = getComputedStyle(token).backgroundColor.match(/[\d.e-]+/g).slice(0, 4).map(Number);
            const ground = getComputedStyle(token.closest('section')).backgroundColor.match(/[\d.]+/g).map((x) => Number(x) / 255);
            const over = [r, g, b].map((x, i) => x * (alpha ?? 1) + ground[i] * (1 - (alpha ?? 1)));
            return 0.2126 * over[0] + 0.7152 * over[1] + 0.0722 * over[2];
          });
        });
        const steps = shades.slice(1).map((shade, i) => shade - shades[i]);
        assert.ok(steps.every((step) => Math.sign(step) === Math.sign(steps[0]) && Math.abs(step) > 0.005), `${shades}`);
      }
      await close(page);
    }
  });
}

await test('a file that is missing is named', async () => {
  fs.renameSync(path.join(folder, 'plain/data/features-00002.js'), path.join(folder, 'away.js'));
  const page = await open('plain');
  await settled(page);
  await page.goto(page.url().split('#')[0] + '#/130');
  await page.waitForSelector('main [role=alert]');
  assert.match(await page.textContent('main [role=alert]'), /data\/features-00002\.js/);
  fs.renameSync(path.join(folder, 'away.js'), path.join(folder, 'plain/data/features-00002.js'));
  await page.context().close();
});

await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);
