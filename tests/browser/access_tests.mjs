// The pages for everybody: axe's rules (WCAG 2.2 AA), keyboard, small screens, less motion, sharp eyes or not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SMALLEST, TABLET, assertAccessible, assertFitsPhone, picture, reaches, says } from './rig.mjs';
import { openTill } from './till_tests.mjs';

const LOOKS = [{}, { ...TABLET, colorScheme: 'dark', locale: 'zh-CN' }];

export function accessTests(world) {
  const each = (looks, act) => async () => { for (const look of looks) await act(look); };

  test('the payment page keeps axe\'s rules, open, paid and cancelled', each(LOOKS, async (look) => {
    const [paid, cancelled] = [await world.shop.invoice('1'), await world.shop.invoice('1', { memo: 'Cake' })];
    for (const [invoice, state, end] of [[paid, 'paid', () => world.shop.pay(paid)],
      [cancelled, 'cancelled', () => world.shop.api('POST', `/v1/invoices/${cancelled.id}/cancel`)]]) {
      await world.rig.visit(`/pay/${invoice.id}`, { reducedMotion: 'reduce', ...look }, async (page) => {
        await reaches(page, 'open');
        await assertAccessible(page);
        await end();
        await reaches(page, state);
        await assertAccessible(page);
      });
    }
  }));

  test('the till keeps axe\'s rules: key, pad, invoice, list', each(LOOKS, async (look) => {
    await world.rig.visit('/till', { reducedMotion: 'reduce', ...look }, async (page) => {
      await assertAccessible(page);
      await openTill(page, world.shop.keys['read,invoice']);
      await page.waitForSelector('#payments li');
      await page.click('#charge');
      await page.waitForSelector('#counterError:not(:empty)');
      await assertAccessible(page);
      await page.fill('#amount', '1');
      await page.click('#charge');
      await reaches(page, 'open');
      await assertAccessible(page);
      await page.click('#cancel');
      await page.waitForSelector('#counter:not([hidden])');
    });
  }));

  test('the smallest phone shows everything without zooming', async () => {
    const invoice = await world.shop.invoice('1234567.123456', { memo: 'W'.repeat(200) });
    await world.rig.visit(`/pay/${invoice.id}`, SMALLEST, async (page) => {
      await reaches(page, 'open');
      await assertFitsPhone(page);
      await picture(page, 'pay-smallest');
    });
    await world.rig.visit('/till', { ...SMALLEST, locale: 'zh-CN' }, async (page) => {
      await assertFitsPhone(page);
      await openTill(page, world.shop.keys['read,invoice']);
      await assertFitsPhone(page);
      await picture(page, 'till-smallest-zh');
    });
  });

  test('the keyboard goes through the page in the order it is read', async () => {
    const invoice = await world.shop.invoice('1');
    await world.rig.visit(`/pay/${invoice.id}`, {}, async (page) => {
      await reaches(page, 'open');
      const order = [];
      for (let i = 0; i < 4; i++) {
        await page.keyboard.press('Tab');
        order.push(await page.evaluate(() => document.activeElement.id));
        assert.equal(await page.evaluate(() => document.activeElement.matches(':focus-visible')), true);
      }
      assert.deepEqual(order, ['language', 'open', 'text', 'copy']);
    });
  });

  test('a screen reader hears of the state, and not of every second', async () => {
    const invoice = await world.shop.invoice('1');
    await world.rig.visit(`/pay/${invoice.id}`, {}, async (page) => {
      await reaches(page, 'open');
      const tree = await page.locator('main').ariaSnapshot();
      for (const line of ['heading "Payment" [level=1]', 'status: Waiting for payment', 'timer:', 'img "QR code of the invoice"',
        'link "Open in wallet"', 'textbox "Or copy the invoice"', 'button "Copy"']) assert.ok(tree.includes(line), `${line}\n${tree}`);
      // What changes while nothing happens must not be in a live region.
      const spoken = await page.evaluate(() => {
        const heard = [];
        const watcher = new MutationObserver((changes) => heard.push(...changes.map(({ target }) => target.id)));
        for (const region of document.querySelectorAll('[role=status], [role=alert]'))
          watcher.observe(region, { childList: true, characterData: true, subtree: true });
        const timer = document.getElementById('timer'), first = timer.textContent;
        return new Promise((done) => {
          const clock = new MutationObserver(() => timer.textContent !== first && done(heard));
          clock.observe(timer, { childList: true, characterData: true, subtree: true });
        });
      });
      assert.deepEqual(spoken, []);
    });
  });

  test('nothing moves for whoever asked for less motion', async () => {
    const invoice = await world.shop.invoice('1');
    await world.shop.pay(invoice);
    for (const [reducedMotion, animation] of [['reduce', 'none'], ['no-preference', 'arrive']]) {
      await world.rig.visit(`/pay/${invoice.id}`, { reducedMotion }, async (page) => {
        await reaches(page, 'paid');
        assert.equal(await page.evaluate(() => getComputedStyle(document.querySelector('.mark')).animationName), animation);
      });
    }
  });

  test('on paper there is the receipt, and no button', async () => {
    const invoice = await world.shop.invoice('1', { memo: 'Cake' });
    await world.shop.pay(invoice);
    await world.rig.visit(`/pay/${invoice.id}`, {}, async (page) => {
      await says(page, 'status', 'Paid');
      await page.emulateMedia({ media: 'print' });
      assert.equal(await page.isVisible('#number'), true);
      assert.equal(await page.locator('button:visible').count(), 0);
      await picture(page, 'pay-print');
    });
  });
}
