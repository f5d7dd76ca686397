// The arithmetic and the texts of the pages, run where they run: in the browser.
import assert from 'node:assert/strict';
import { test } from 'node:test';

/** Runs a function of amounts.js over cases [arguments…, expected]; BigInt as "5n". */
const amounts = (page, name, cases) => page.evaluate(async ([name_, rows]) => {
  const code = await import('/static/amounts.js');
  const value = (one) => typeof one === 'string' && /^-?\d+n$/.test(one) ? BigInt(one.slice(0, -1)) : one;
  const shown = (one) => typeof one === 'bigint' ? `${one}n` : one;
  return rows.map((row) => [...row.slice(0, -1), shown(code[name_](...row.slice(0, -1).map(value)))]);
}, [name, cases]);

export function tableTests(world) {
  const holds = (what, name, cases) => test(what, () => world.rig.visit('/till', {}, async (page) => {
    assert.deepEqual(await amounts(page, name, cases), cases);
  }));

  holds('a typed amount becomes base units, exactly', 'parseAmount', [
    ['2.5', 6, '2500000n'], ['2.50', 6, '2500000n'], ['0.000001', 6, '1n'], ['0.0000001', 6, null], ['7', 0, '7n'],
    ['7.', 0, '7n'], ['7.0', 0, null], ['', 6, null], ['.5', 6, null], ['1e3', 6, null], ['-1', 6, null], ['0x10', 6, null],
    ['9007199254740993.000001', 6, '9007199254740993000001n'], // 2^53 + 1: a double has no such number
    ['0.1', 18, '100000000000000000n'],
  ]);

  holds('base units are shown with the asset\'s decimals', 'formatUnits', [
    ['2500000n', 6, '2.50'], ['1n', 6, '0.000001'], ['0n', 6, '0.00'], ['1234567890000n', 6, '1,234,567.89'],
    ['7n', 0, '7'], ['1000n', 0, '1,000'], ['15n', 1, '1.5'], ['-2500000n', 6, '-2.50'],
    ['9007199254740993000001n', 6, '9,007,199,254,740,993.000001'],
  ]);

  holds('the pad takes only what is an amount', 'pressKey', [
    ['', '5', 6, '5'], ['', '0', 6, '0'], ['0', '0', 6, '0'], ['0', '7', 6, '7'], ['', '.', 6, '0.'], ['2', '.', 6, '2.'],
    ['2.', '.', 6, '2.'], ['2.12', '3', 2, '2.12'], ['2', '.', 0, '2'], ['2.5', 'erase', 6, '2.'], ['', 'erase', 6, ''],
    ['123456789012', '3', 6, '123456789012'],
  ]);

  holds('what is pasted is made an amount', 'cleanAmount', [
    [' 2,50 €', 6, '2.50'], ['abc', 6, ''], ['1.2.3', 6, '1.23'], ['00012', 6, '12'], ['١٢', 6, ''], ['3.999', 2, '3.99'],
  ]);

  test('every text is there in both languages, with the same values in it', () => world.rig.visit('/till', {}, async (page) => {
    const faults = await page.evaluate(async () => {
      const { TEXTS, LANGUAGES } = await import('/static/texts.js');
      const values = (text) => (text.match(/\{\w+\}/g) ?? []).sort().join();
      return Object.entries(TEXTS).filter(([, row]) => row.length !== LANGUAGES.length || row.some((text) => text === '') ||
        values(row[0]) !== values(row[1])).map(([key]) => key);
    });
    assert.deepEqual(faults, []);
    const used = await page.evaluate(async () => {
      const { TEXTS } = await import('/static/texts.js');
      const pages = await Promise.all(['/till', '/pay/none'].map(async (path) => (await fetch(path)).text()));
      const keys = pages.flatMap((html) => [...html.matchAll(/data-(?:text|label|alt|hint)="(\w+)"/g)].map(([, key]) => key));
      return { count: keys.length, unknown: keys.filter((key) => !(key in TEXTS)) };
    });
    assert.deepEqual(used.unknown, []);
    assert.ok(used.count > 20);
  }, { allowed: /404/ }));
}
