// Debian's chromium under playwright-core, with what every page of ours must keep to: no other host is asked for
// anything, no error of a script, nothing the Content-Security-Policy has to stop, no dialog.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import jsQR from 'jsqr';
import { chromium } from 'playwright-core';
import { project } from '../evm/twins.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const pictures = join(project, 'build', 'browser');

export const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
export const SMALLEST = { viewport: { width: 320, height: 568 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true };
export const TABLET = { viewport: { width: 1180, height: 820 } };
export const PATIENCE_MS = 40_000;

/** A time zone where it is about noon: no test runs over midnight. */
function noonZone() {
  const west = new Date().getUTCHours() - 12;
  return west === 0 ? 'Etc/GMT' : `Etc/GMT${west > 0 ? '+' : ''}${west}`;
}

export class Rig {
  static async start(origin) {
    const rig = new Rig();
    rig.origin = origin;
    mkdirSync(pictures, { recursive: true });
    // The tests run as root in containers, where chromium's own sandbox cannot be made.
    rig.browser = await chromium.launch({
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      args: ['--no-sandbox', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1'],
    });
    return rig;
  }

  stop() { return this.browser.close(); }

  /** Opens a path in a browser of its own, runs act(page, context), and holds what happened against the rules above.
   *  allowed: console errors that belong to the test, as a pattern; first: what runs in the page before its own scripts. */
  async visit(path, options, act, { allowed, first } = {}) {
    const context = await this.browser.newContext({ locale: 'en-GB', timezoneId: noonZone(), ...PHONE, ...options });
    context.setDefaultTimeout(PATIENCE_MS);
    const hosts = new Set(), troubles = [];
    context.on('request', (request) => hosts.add(new URL(request.url()).origin));
    if (first) await context.addInitScript(first);
    const page = await context.newPage();
    page.on('pageerror', (error) => troubles.push(String(error)));
    page.on('dialog', (dialog) => { troubles.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
    page.on('console', (message) => {
      if (message.type() === 'error' && !allowed?.test(message.text())) troubles.push(message.text());
    });
    try {
      await page.goto(this.origin + path);
      await act(page, context);
      assert.deepEqual(troubles, []);
      assert.deepEqual([...hosts], [this.origin]);
    } finally {
      await context.close();
    }
  }
}

export const picture = (page, name) => page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });

/** Waits until the element with this id says exactly this. */
export const says = (page, id, words) =>
  page.waitForFunction(([at, wanted]) => document.getElementById(at).textContent === wanted, [id, words]);

/** The invoice's state as the page has it. */
export const reaches = (page, state) => page.waitForSelector(`#invoice[data-state=${state}]`);

export async function assertAccessible(page) {
  await page.evaluate(axe);
  const { violations, passes } = await page.evaluate(() => globalThis.axe.run(document, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
  }));
  assert.ok(passes.length > 10, 'axe has looked at next to nothing');
  assert.deepEqual(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join('; ')}`), []);
}

/** Nothing needs zooming or sideways scrolling, and everything that is touched is large enough for a finger. */
export async function assertFitsPhone(page) {
  const { overflow, small } = await page.evaluate(() => ({
    overflow: document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth,
    small: [...document.querySelectorAll('button, a, input, select:enabled')].filter((element) => element.checkVisibility())
      .map((element) => [element.id, element.getBoundingClientRect()])
      .filter(([, box]) => box.width < 44 || box.height < 44).map(([id, box]) => `${id} ${box.width}×${box.height}`),
  }));
  assert.equal(overflow, 0);
  assert.deepEqual(small, []);
}

/** The text of the QR code on the page, read from its pixels. */
export async function scan(page) {
  const { width, dark } = await page.evaluate(async () => {
    const image = document.getElementById('qr');
    await image.decode();
    const canvas = document.createElement('canvas');
    canvas.width = canvas.height = image.naturalWidth;
    const pen = canvas.getContext('2d');
    pen.drawImage(image, 0, 0);
    const { data } = pen.getImageData(0, 0, canvas.width, canvas.width);
    return { width: canvas.width, dark: Array.from({ length: data.length / 4 }, (_, i) => (data[4 * i] < 128 ? 1 : 0)).join('') };
  });
  const pixels = Uint8ClampedArray.from({ length: 4 * dark.length }, (_, i) => (i % 4 < 3 && dark[i >> 2] === '1' ? 0 : 255));
  return jsQR(pixels, width, width)?.data;
}
