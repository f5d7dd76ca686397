// The till, from the key pad to paid.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { picture, reaches, says, scan, TABLET } from './rig.mjs';

const HOSTILE = '<b onclick=alert(1)>cake</b><img src=x onerror=alert(2)>';
const AWAY = /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET/;

export async function openTill(page, key) {
  await page.fill('#key', key);
  await page.press('#key', 'Enter');
  await page.waitForSelector('#desk:not([hidden])');
}

/** The invoice that the till shows. */
const shownInvoice = async (shop, page) => {
  const id = /\/pay\/([^/]+)\/qr/.exec(await page.getAttribute('#qr', 'src'))[1];
  return shop.api('GET', `/v1/invoices/${id}`);
};

export function tillTests(world) {
  const till = (options, act, rules) => world.rig.visit('/till', options, async (page) => {
    await openTill(page, world.shop.keys['read,invoice']);
    await act(page);
  }, rules);
  const press = async (page, keys) => { for (const key of keys) await page.click(`[data-key="${key}"]`); };

  test('a key is asked for once, and wrong ones are told apart', () => world.rig.visit('/till', {}, async (page) => {
    const tried = async (key, words) => {
      await page.fill('#key', key);
      await page.click('#login button');
      await page.waitForFunction((part) => document.getElementById('keyError').textContent.includes(part), words);
    };
    await picture(page, 'till-key');
    await tried('', 'not an API key');
    await tried('hunter2', 'not an API key');
    await tried(`rk_${'0'.repeat(12)}_${'0'.repeat(64)}`, 'not valid');
    await picture(page, 'till-key-wrong');
    await tried(world.shop.keys.invoice, 'scope “read”');
    await page.reload();
    assert.equal(await page.isVisible('#login'), true);
    await openTill(page, world.shop.keys['read,invoice']);
    await page.reload();
    await page.waitForSelector('#desk:not([hidden])');
    assert.equal(await page.evaluate(() => Object.keys(localStorage).length), 0);
    await page.click('#lock');
    assert.equal(await page.isVisible('#login'), true);
    assert.deepEqual(await page.evaluate(() => Object.keys(sessionStorage)), []);
  }, { allowed: /40[13]/ }));

  test('a key that may only look cannot charge', () => world.rig.visit('/till', {}, async (page) => {
    await openTill(page, world.shop.keys.read);
    await press(page, '5');
    await page.click('#charge');
    await page.waitForFunction(() => document.getElementById('counterError').textContent.includes('scope “invoice”'));
    assert.equal(await page.inputValue('#amount'), '5');
  }, { allowed: /403/ }));

  test('from the key pad to paid, and into the takings', () => till({}, async (page) => {
    const before = await world.shop.api('GET', '/v1/payments?limit=500');
    await picture(page, 'till');
    await press(page, ['1', '2', 'erase', '.', '5']);
    assert.equal(await page.inputValue('#amount'), '1.5');
    await says(page, 'charge', 'Charge 1.50 USDT');
    await page.fill('#memo', HOSTILE);
    await page.click('#charge');
    await reaches(page, 'open');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'show'); // a second Enter cancels nothing
    await says(page, 'sum', '1.50 USDT');
    await says(page, 'invoiceMemo', HOSTILE);
    const invoice = await shownInvoice(world.shop, page);
    assert.equal(invoice.amount_units, '1500000');
    assert.equal(await scan(page), invoice.text);
    assert.equal(await page.isVisible('#takings'), false); // the customer is looking
    await picture(page, 'till-invoice');

    await page.reload();
    await reaches(page, 'open');
    assert.equal((await shownInvoice(world.shop, page)).id, invoice.id);
    await world.shop.pay(invoice);
    await reaches(page, 'paid');
    await says(page, 'status', 'Paid');
    await picture(page, 'till-paid');
    await page.waitForFunction(() => document.activeElement.id === 'next');
    await page.keyboard.press('Enter');

    assert.equal(await page.inputValue('#amount'), '');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'amount');
    const row = page.locator('#payments li').first();
    assert.equal(await row.locator('.what').textContent(), HOSTILE);
    assert.equal(await row.locator('.much').textContent(), '1.50 USDT');
    assert.equal(await row.locator('b, img').count(), 0);
    const rows = [...before.payments, { amount_units: '1500000', refunds: [] }];
    const sum = rows.reduce((all, { amount_units, refunds }) => all + BigInt(amount_units) -
      refunds.reduce((back, refund) => back + BigInt(refund.amount_units), 0n), 0n);
    const shown = await page.textContent('#sums .total');
    assert.equal(BigInt(shown.replace(/\D/g, '')) * 10n ** (6n - BigInt(/\.(\d+)/.exec(shown)[1].length)), sum);
    assert.match(await page.textContent('#sums'), new RegExp(`\\b${rows.length} payments?\\b`));
    await picture(page, 'till-takings');
  }));

  test('by keyboard alone, in Chinese, on a tablet', () => till({ ...TABLET, locale: 'zh-CN' }, async (page) => {
    await page.keyboard.type('0.75');
    await page.keyboard.press('Enter');
    await says(page, 'status', '等待付款');
    await picture(page, 'till-invoice-zh-tablet');
    await world.shop.pay(await shownInvoice(world.shop, page));
    await says(page, 'status', '已付款');
    await picture(page, 'till-paid-zh-tablet');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#counter:not([hidden])');
    await page.keyboard.press('Tab'); // digits belong to the amount wherever the focus is, but in a field
    await page.keyboard.type('42');
    assert.equal(await page.inputValue('#amount'), '42');
    await picture(page, 'till-zh-tablet');
  }));

  test('what the server or the field does not take is said', () => till({}, async (page) => {
    await page.click('#charge');
    await says(page, 'counterError', 'Enter an amount above zero.');
    await press(page, '0');
    await page.click('#charge');
    await says(page, 'counterError', 'Enter an amount above zero.');
    await press(page, '3');
    await page.fill('#memo', '咖'.repeat(90));
    await page.click('#charge');
    await says(page, 'counterError', 'The memo is too long: 270 of 256 bytes.');
    await page.fill('#memo', '');
    await page.route('**/v1/invoices', (route) => route.fulfill({ status: 422, json: { error: { code: 'no', message: HOSTILE } } }));
    await page.click('#charge');
    await says(page, 'counterError', `The server refused: ${HOSTILE}`);
    assert.equal(await page.locator('#counterError *').count(), 0);
  }, { allowed: /4\d\d/ }));

  test('a shop that cannot receive yet is told what to do', () => world.rig.visit('/till', {}, async (page) => {
    await page.route('**/v1/balance', (route) => route.fulfill({ json: { balances: [], connected: true } }));
    await openTill(page, world.shop.keys['read,invoice']);
    await page.waitForSelector('#counterError:not(:empty)');
    await press(page, '5');
    await page.click('#charge');
    await page.waitForFunction(() => document.getElementById('counterError').textContent.includes('rill open'));
  }));

  test('a cancelled charge cannot be paid any more', () => till({}, async (page) => {
    await press(page, '4');
    await page.click('#charge');
    await reaches(page, 'open');
    const invoice = await shownInvoice(world.shop, page);
    await page.click('#cancel');
    await page.waitForSelector('#counter:not([hidden])');
    assert.equal((await world.shop.api('GET', `/v1/invoices/${invoice.id}`)).state, 'cancelled');
  }));

  test('a refund is shown, and the takings are less by it', () => till({}, async (page) => {
    const invoice = await world.shop.invoice('3.00', { memo: 'Umbrella' });
    await world.shop.pay(invoice);
    const row = page.locator('#payments li', { hasText: 'Umbrella' });
    await row.waitFor();
    const { payments: [{ id }] } = await world.shop.api('GET', `/v1/invoices/${invoice.id}`);
    const listening = world.shop.listen('ada');
    try {
      await world.shop.refund(id, '1.25', listening);
      await row.locator('.back', { hasText: '1.25 USDT refunded' }).waitFor();
      assert.match(await page.textContent('#sums'), /1\.25 USDT refunded/);
      await picture(page, 'till-refund');
    } finally {
      await listening.stop();
    }
  }));

  test('a till whose server goes away says so, and goes on when it is back', () => till({}, async (page) => {
    await page.waitForSelector('#payments li');
    await world.shop.merchantd.stop();
    await page.waitForSelector('#offline:not(:empty)');
    await press(page, '6');
    await page.click('#charge');
    await page.waitForFunction(() => document.getElementById('counterError').textContent.includes('can’t be reached'));
    await picture(page, 'till-offline');
    await world.shop.startMerchant();
    await says(page, 'offline', '');
    await page.click('#charge');
    await reaches(page, 'open');
    await page.click('#cancel');
  }, { allowed: AWAY }));

  test('a till that is opened again while its server is away waits for it', () => till({}, async (page) => {
    // The page itself comes from the server: what is cut here is the API alone.
    await page.route('**/v1/**', (route) => route.abort('connectionrefused'));
    await page.reload();
    await page.waitForSelector('#offline:not(:empty)');
    assert.equal(await page.isVisible('#login'), false);
    await page.unroute('**/v1/**');
    await page.waitForSelector('#desk:not([hidden])');
  }, { allowed: AWAY }));
}

/** Last: what names no asset means none any more once there are two. */
export function assetTests(world) {
  test('with two assets the till asks which, keeps to its decimals, and adds up each', async () => {
    await world.shop.addAsset('EURC', 2);
    await world.rig.visit('/till', {}, async (page) => {
      await openTill(page, world.shop.keys['read,invoice']);
      await page.selectOption('#asset', { label: 'EURC' });
      await page.click('#amount');
      await page.keyboard.type('1.2345');
      assert.equal(await page.inputValue('#amount'), '1.23');
      await says(page, 'charge', 'Charge 1.23 EURC');
      await picture(page, 'till-assets');
      await page.click('#charge');
      await says(page, 'sum', '1.23 EURC');
      const invoice = await shownInvoice(world.shop, page);
      assert.equal(invoice.amount_units, '123');
      await world.shop.pay(invoice);
      await reaches(page, 'paid');
      await page.click('#next');
      await page.locator('#sums li', { hasText: /^1\.23 EURC 1 payment$/ }).waitFor();
      assert.equal(await page.locator('#sums li', { hasText: 'USDT' }).count(), 1);
      await page.fill('#amount', '0.123456');
      await page.selectOption('#asset', { label: 'USDT' });
      assert.equal(await page.inputValue('#amount'), '0.12');
    });
  });
}
