// The payment page in each of its states, paid by a real wallet.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { picture, reaches, says, scan, PATIENCE_MS, TABLET } from './rig.mjs';
import { SHOP_NAME } from './shop.mjs';

const HOSTILE = '<img src=x onerror=alert(1)><script>alert(2)</script> "\' &amp; {{shop}}';
const AWAY = /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET/;

/** The page's own asking, every 2 s or more seldom, never comes about: what it learns, it is told. */
const withoutPolling = () => {
  const later = globalThis.setTimeout;
  globalThis.setTimeout = (act, delay, ...more) => (delay >= 2000 ? 0 : later(act, delay, ...more));
};

export function payTests(world) {
  const visit = (...all) => world.rig.visit(...all);
  const show = async (amount, more, options, act, rules) => {
    const invoice = await world.shop.invoice(amount, more);
    await visit(`/pay/${invoice.id}`, options, (page, context) => act(page, invoice, context), rules);
  };

  test('a payment by a wallet turns the page to paid, told by the stream', () => show('2.50', { memo: 'Two coffees' }, {}, async (page, invoice) => {
    await reaches(page, 'open');
    await says(page, 'sum', '2.50 USDT');
    await says(page, 'memo', 'Two coffees');
    await says(page, 'status', 'Waiting for payment');
    assert.equal(await page.textContent('#shop'), SHOP_NAME);
    assert.match(await page.textContent('#timer'), /^\d+:\d\d(:\d\d)?$/);
    assert.equal(await scan(page), invoice.text);
    assert.equal(await page.inputValue('#text'), invoice.text);
    assert.equal(await page.getAttribute('#open', 'href'), invoice.text);
    await picture(page, 'pay-open');
    await world.shop.pay(invoice);
    await reaches(page, 'paid');
    await says(page, 'status', 'Paid');
    await says(page, 'number', invoice.id);
    assert.equal(await page.isVisible('#ways'), false);
    assert.match(await page.title(), /^Paid · /);
    await picture(page, 'pay-paid');
    await page.reload();
    await reaches(page, 'paid');
  }, { first: withoutPolling }));

  test('the same in Chinese', () => show('2.50', { memo: '两杯咖啡' }, { locale: 'zh-CN' }, async (page, invoice) => {
    await says(page, 'status', '等待付款');
    assert.equal(await page.getAttribute('html', 'lang'), 'zh-Hans');
    await says(page, 'memo', '两杯咖啡');
    await picture(page, 'pay-open-zh');
    await world.shop.pay(invoice);
    await says(page, 'status', '已付款');
    await picture(page, 'pay-paid-zh');
  }));

  test('the switch changes the language, and a reload keeps it', () => show('1', {}, { locale: 'zh-CN' }, async (page) => {
    await says(page, 'status', '等待付款');
    await page.click('#language');
    await says(page, 'status', 'Waiting for payment');
    assert.equal(await page.getAttribute('html', 'lang'), 'en');
    await page.reload();
    await says(page, 'status', 'Waiting for payment');
    await page.goto(`${page.url()}?lang=zh`);
    await says(page, 'status', '等待付款');
  }));

  test('the payer chooses where the invoice leaves the amount open', () => show(null, {}, {}, async (page, invoice) => {
    await says(page, 'sum', 'Any amount');
    await world.shop.command('ada', ['pay', invoice.text, '1.23']);
    await reaches(page, 'paid');
    await says(page, 'sum', '1.23 USDT');
  }));

  test('without a stream the page asks, and comes to know all the same', async () => {
    const invoice = await world.shop.invoice('1.50');
    await visit('/till', {}, async (page) => {
      await page.route('**/events', (route) => route.fulfill({ status: 503 }));
      await page.goto(`${world.shop.url}/pay/${invoice.id}`);
      await reaches(page, 'open');
      await world.shop.pay(invoice);
      await reaches(page, 'paid');
    }, { allowed: /503/ });
  });

  test('an invoice expires before the customer\'s eyes', () => show('2', { expires_in_s: 10 }, {}, async (page) => {
    await reaches(page, 'open');
    await page.waitForSelector('#invoice[data-state=expired]', { timeout: 2 * PATIENCE_MS });
    await says(page, 'status', 'Expired');
    assert.equal(await page.isVisible('#qr'), false);
    assert.match(await page.textContent('#note'), /don’t pay/);
    await picture(page, 'pay-expired');
  }));

  test('an invoice is cancelled before the customer\'s eyes', () => show('2', {}, {}, async (page, invoice) => {
    await reaches(page, 'open');
    await world.shop.api('POST', `/v1/invoices/${invoice.id}/cancel`);
    await reaches(page, 'cancelled');
    await says(page, 'status', 'Cancelled');
    assert.equal(await page.isVisible('#ways'), false);
    await picture(page, 'pay-cancelled');
  }));

  test('an invoice that does not exist', () => visit('/pay/inv_00000000000000000000000000000000', {}, async (page) => {
    await says(page, 'status', 'No such invoice');
    await picture(page, 'pay-unknown');
  }, { allowed: /404/ }));

  test('a server that is away is said to be, and the payment is seen when it is back', () => show('2.25', {}, {}, async (page, invoice) => {
    await reaches(page, 'open');
    await world.shop.merchantd.stop();
    await page.waitForSelector('#offline:not(:empty)');
    assert.match(await page.textContent('#offline'), /can’t be reached/);
    assert.equal(await page.isVisible('#qr'), true);
    await picture(page, 'pay-offline');
    await page.click('#language');
    assert.match(await page.textContent('#offline'), /无法连接/);
    await world.shop.startMerchant();
    await says(page, 'offline', '');
    await world.shop.pay(invoice);
    await reaches(page, 'paid');
  }, { allowed: AWAY }));

  test('a memo is text, whatever is in it', () => show('1', { memo: HOSTILE }, {}, async (page) => {
    await says(page, 'memo', HOSTILE);
    assert.equal(await page.locator('#memo *').count(), 0);
    assert.equal(await page.locator('img').count(), 1);
    await picture(page, 'pay-hostile-memo');
  }));

  test('the invoice is copied with one touch', () => show('1', {}, {}, async (page, invoice, context) => {
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    await page.click('#copy');
    await says(page, 'copied', 'Copied');
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), invoice.text);
  }));

  test('what may not be known without a key is not in the public answer', async () => {
    const invoice = await world.shop.invoice('1', { external_id: 'order-7', metadata: { table: 'seven' } });
    await world.shop.pay(invoice);
    const [told, own] = await Promise.all([fetch(`${world.shop.url}/pay/${invoice.id}.json`).then((answer) => answer.text()),
      world.shop.api('GET', `/v1/invoices/${invoice.id}`)]);
    assert.equal(own.external_id, 'order-7');
    assert.match(own.payments[0].secret, /^0x[0-9a-f]{64}$/);
    for (const secret of ['order-7', 'seven', own.payments[0].secret]) assert.equal(told.includes(secret), false);
  });

  test('on a tablet, in the dark', () => show('1234.5', {}, { ...TABLET, colorScheme: 'dark' }, async (page) => {
    await says(page, 'sum', '1,234.50 USDT');
    await picture(page, 'pay-open-dark-tablet');
  }));
}
