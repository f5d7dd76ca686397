// A shop as it is in life: ledger, hub and wallets of tests/evm/stage.mjs, and rill-merchantd.
import { randomUUID } from 'node:crypto';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Stage } from '../evm/stage.mjs';
import { started } from '../evm/twins.mjs';

const SHOP = 1, PAYER = 2;
export const SHOP_NAME = 'Corner <b>Café</b>';
export const COLOUR = '#1d4f73';

export class Shop extends Stage {
  static async open() {
    const shop = await Shop.start('ledgerd');
    try {
      await shop.wallet('shop', SHOP);
      await shop.wallet('ada', PAYER);
      await shop.command('shop', ['open', '80']);
      await shop.command('ada', ['deposit', '80']);
      shop.keys = {};
      for (const scopes of ['read,invoice', 'read', 'invoice', 'payout']) shop.keys[scopes] = await shop.makeKey(scopes);
      await shop.startMerchant();
    } catch (error) {
      await shop.stop();
      throw error;
    }
    return shop;
  }

  /** What a command of `rill` or another program prints; it must succeed. */
  async command(name, words, program = 'rill') {
    const { code, output, errors } = await this.rill(name, words, program);
    if (code !== 0) throw new Error(`${program} ${words.join(' ')}: ${errors}${output}`);
    return output;
  }

  pay(invoice) { return this.command('ada', ['pay', invoice.text]); }

  async makeKey(scopes) {
    const output = await this.command('shop', ['keys', 'create', '--scope', scopes], 'rill-merchantd');
    return /rk_\w+/.exec(output)[0];
  }

  /** The same port again after a stop: what a browser shows must find its way back. */
  async startMerchant() {
    const portFile = join(this.folder, 'merchant-port');
    rmSync(portFile, { force: true });
    this.merchantd = this.start('rill-merchantd', 'rill-merchantd', ['--home', this.home.shop,
      '--listen', `127.0.0.1:${this.merchantPort ?? 0}`, '--port-file', portFile,
      '--page-shop', SHOP_NAME, '--page-colour', COLOUR]);
    this.merchantPort = await started(this.merchantd, () => existsSync(portFile) && readFileSync(portFile, 'utf8').trim());
    this.url = `http://127.0.0.1:${this.merchantPort}`;
  }

  /** An answer of the API: its JSON; what is not 2xx throws. */
  async api(method, path, body, scopes = 'read,invoice') {
    const headers = { authorization: `Bearer ${this.keys[scopes]}` };
    if (method !== 'GET') Object.assign(headers, { 'content-type': 'application/json', 'idempotency-key': randomUUID() });
    const response = await fetch(this.url + path, { method, headers, body: body && JSON.stringify(body) });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return JSON.parse(text);
  }

  invoice(amount, more = {}) { return this.api('POST', '/v1/invoices', { amount, asset: 'USDT', ...more }); }

  /** A second asset, in which the shop can be paid and the payer can pay. */
  async addAsset(symbol, decimals) {
    await this.merchantd.stop(); // it holds the shop's wallet
    await this.command('hub', ['ledger', 'issue', symbol, '--decimals', String(decimals), '--supply', '1000', '--pool', '500']);
    await this.command('hub', ['ledger', 'send', this.account(PAYER).address, '100', '--asset', symbol]);
    await this.command('shop', ['open', '50', '--asset', symbol]);
    await this.command('ada', ['deposit', '50', '--asset', symbol]);
    await this.startMerchant();
  }

  /** Gives part of a payment back, to an invoice of the payer, whose terminal is listening. */
  async refund(payment, amount, terminal) {
    terminal.type(amount);
    let text;
    while (text === undefined) text = /rill:[A-Z2-7]{100,}/.exec(await terminal.next())?.[0];
    return this.api('POST', `/v1/payments/${payment}/refund`, { amount, invoice: text }, 'payout');
  }
}
