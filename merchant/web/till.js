// The till: asks for a key once, takes an amount, shows the invoice, says when it is paid, and adds up the day.
import { cleanAmount, formatUnits, parseAmount, pressKey } from './amounts.js';
import { Api, randomKey } from './api.js';
import { $, follow, memory, startCountdown, startLanguage, text, write, writeSum } from './common.js';
import { Takings } from './takings.js';

const KEY = 'rill-till-key', INVOICE = 'rill-till-invoice';
const MEMO_BYTES_MAX = 256;
const RETRY_MS = 3000;

let api = null, takings = null, assets = [];
let shown = null;      // the invoice on the screen: {id, invoice, secondsLeft, stop}
let countdown = 0, isReachable = true, isResuming = false;
let errors = { key: null, counter: null, invoice: null };
let charging = null;   // {body, key}: a charge that failed for the network's sake is tried again under the same key

const asset = () => assets[$('asset').selectedIndex] ?? assets[0];
const decimals = () => asset()?.decimals ?? 0;

/** An ApiError as a sentence; scopeText: what the missing scope would allow. */
function sentence(error, scopeText) {
  switch (error.kind) {
    case 'key': return ['keyWrong'];
    case 'scope': return [scopeText];
    case 'busy': return ['busy'];
    case 'away': return ['away'];
    case 'refused': return ['refused', { why: error.message }];
    default: throw error;
  }
}

// ---- what is on the screen ----

function draw() {
  const isOpen = api !== null && takings !== null;
  $('login').hidden = isOpen || isResuming;
  $('desk').hidden = $('lock').hidden = !isOpen;
  $('counter').hidden = shown !== null;
  $('invoice').hidden = shown === null;
  // The customer is looking: the day's takings are none of theirs.
  $('takings').hidden = shown !== null;
  $('desk').classList.toggle('customer', shown !== null);
  write($('offline'), (isOpen || isResuming) && !isReachable ? text('offline') : '');
  for (const [name, error] of Object.entries(errors)) write($(`${name}Error`), error === null ? '' : text(...error));
  $('key').setAttribute('aria-invalid', String(errors.key !== null));
  drawTitle();
  drawCharge();
  if (shown?.invoice) drawInvoice(shown.invoice);
  takings?.draw();
}

function drawTitle() {
  const what = shown?.invoice ? text(shown.invoice.state) : text('till');
  document.title = [what, $('shop').textContent].filter(Boolean).join(' · ');
}

function drawCharge() {
  const units = parseAmount($('amount').value, decimals());
  const amount = units && asset() ? `${formatUnits(units, decimals())} ${asset().symbol}` : '';
  write($('charge'), amount ? text('chargeAmount', { amount }) : text('charge'));
}

function drawInvoice(invoice) {
  const isOpen = invoice.state === 'open';
  $('invoice').dataset.state = invoice.state;
  write($('status'), text(invoice.state));
  writeSum($('sum'), invoice);
  write($('invoiceMemo'), invoice.memo ?? '');
  $('show').hidden = $('left').hidden = $('qr').hidden = $('cancel').hidden = !isOpen;
  $('next').hidden = isOpen;
  clearInterval(countdown);
  if (isOpen) countdown = startCountdown($('timer'), shown.secondsLeft);
}

// ---- the key ----

const assetName = ({ symbol, address }) =>
  assets.filter((other) => other.symbol === symbol).length > 1 ? `${symbol} ${address.slice(0, 8)}…` : symbol;

function takeAssets(balance) {
  const open = balance.balances.filter((one) => one.stage === 'open').map((one) => [one.asset.address, one.asset]);
  assets = [...new Map(open).values()];
  $('asset').replaceChildren(...assets.map((one) => new Option(assetName(one), one.address)));
  $('asset').disabled = assets.length < 2;
}

async function openTill(key) {
  const tried = new Api(key);
  const list = new Takings(tried, (reachable) => { isReachable = reachable; draw(); }, refuse);
  try {
    takeAssets(await tried.get('/v1/balance'));
    await list.load();
  } catch (error) {
    cannotOpen(key, error);
    return;
  }
  memory.set(KEY, key);
  $('key').value = '';
  [api, takings, isReachable, isResuming] = [tried, list, true, false];
  errors = { key: null, counter: assets.length === 0 ? ['noAsset'] : null, invoice: null };
  list.follow();
  const id = memory.get(INVOICE);
  if (id) showInvoice(id);
  draw();
  if (!id) $('amount').focus();
}

/** A till that was open before a reload waits for its server; otherwise whoever typed the key hears why. */
function cannotOpen(key, error) {
  isResuming = error.kind === 'away' && memory.get(KEY) === key;
  isReachable = !isResuming;
  if (isResuming) {
    setTimeout(openTill, RETRY_MS, key);
    draw();
    return;
  }
  memory.remove(KEY);
  errors.key = sentence(error, 'noRead');
  draw();
  $('key').focus();
}

function closeTill() {
  takings?.end();
  leaveInvoice();
  memory.remove(KEY);
  api = takings = null;
  draw();
  $('key').focus();
}

/** The key that was good is good no longer. */
function refuse(error) {
  errors.key = sentence(error, 'noRead');
  closeTill();
}

$('login').addEventListener('submit', (event) => {
  event.preventDefault();
  const key = $('key').value.trim();
  errors.key = null;
  if (/^rk_[\w-]+$/.test(key)) {
    openTill(key);
    return;
  }
  errors.key = ['keyNotOne'];
  draw();
  $('key').focus();
});
$('lock').addEventListener('click', closeTill);

// ---- the amount ----

function setAmount(value) {
  if ($('amount').value !== value) $('amount').value = value;
  errors.counter = null;
  draw();
}

$('pad').addEventListener('click', (event) => {
  const { key } = event.target.closest('button')?.dataset ?? {};
  if (key !== undefined) setAmount(pressKey($('amount').value, key, decimals()));
});
$('amount').addEventListener('input', () => setAmount(cleanAmount($('amount').value, decimals())));
$('asset').addEventListener('change', () => setAmount(cleanAmount($('amount').value, decimals())));

// Digits that are typed while no field has the focus belong to the amount.
document.addEventListener('keydown', (event) => {
  if ($('desk').hidden || shown !== null || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest('input, select')) return;
  if (/^[\d.,]$/.test(event.key)) setAmount(pressKey($('amount').value, event.key === ',' ? '.' : event.key, decimals()));
  else if (event.key === 'Backspace') setAmount(pressKey($('amount').value, 'erase', decimals()));
  else return;
  event.preventDefault();
});

$('counter').addEventListener('submit', (event) => {
  event.preventDefault();
  const units = parseAmount($('amount').value, decimals()), memo = $('memo').value.trim();
  const bytes = new TextEncoder().encode(memo).length;
  if (!asset()) errors.counter = ['noAsset'];
  else if (!units) errors.counter = ['amountFirst'];
  else if (bytes > MEMO_BYTES_MAX) errors.counter = ['memoLong', { bytes }];
  else {
    charge({ amount: $('amount').value.replace(/\.$/, ''), asset: asset().address, ...(memo && { memo }) });
    return;
  }
  draw();
  (units ? $('memo') : $('amount')).focus();
});

async function charge(body) {
  const same = charging !== null && JSON.stringify(charging.body) === JSON.stringify(body);
  if (!same) charging = { body, key: randomKey() };
  errors.counter = null;
  $('charge').disabled = true;
  draw();
  try {
    const invoice = await api.post('/v1/invoices', body, charging.key);
    charging = null;
    showInvoice(invoice.id);
  } catch (error) {
    if (error.kind === 'refused') charging = null;
    errors.counter = sentence(error, 'noInvoice');
  }
  $('charge').disabled = false;
  draw();
}

// ---- the invoice that the customer sees ----

function showInvoice(id) {
  memory.set(INVOICE, id);
  errors.invoice = null;
  $('invoice').dataset.state = 'loading';
  write($('status'), text('loading'));
  for (const name of ['sum', 'invoiceMemo', 'timer']) write($(name), '');
  $('qr').src = `/pay/${encodeURIComponent(id)}/qr.svg`;
  $('show').hidden = $('qr').hidden = $('cancel').hidden = false;
  $('next').hidden = true;
  shown = { id, invoice: null };
  const mine = shown;
  mine.stop = follow(id, (invoice, secondsLeft) => {
    if (shown !== mine) return;
    if (invoice === null) { nextPayment(); return; }
    const isNews = mine.invoice?.state !== invoice.state;
    Object.assign(mine, { invoice, secondsLeft });
    draw();
    if (isNews && invoice.state !== 'open') $('next').focus();
  }, (reachable) => {
    if (shown !== mine) return;
    isReachable = reachable;
    draw();
  });
  draw();
  $('invoice').scrollIntoView({ block: 'start' });
  // Not on Cancel: whoever charged with Enter may press it twice.
  $('show').focus({ preventScroll: true });
}

function leaveInvoice() {
  shown?.stop();
  shown = null;
  clearInterval(countdown);
  memory.remove(INVOICE);
}

function nextPayment() {
  leaveInvoice();
  $('amount').value = $('memo').value = '';
  errors.counter = errors.invoice = null;
  draw();
  $('amount').focus();
}

$('cancel').addEventListener('click', async () => {
  errors.invoice = null;
  try {
    await api.post(`/v1/invoices/${encodeURIComponent(shown.id)}/cancel`, {}, randomKey());
    nextPayment();
  } catch (error) {
    // Paid in the meantime, perhaps: what is true comes with the next answer.
    errors.invoice = sentence(error, 'noInvoice');
    draw();
  }
});
$('next').addEventListener('click', nextPayment);

startLanguage(draw);
if (memory.get(KEY)) {
  isResuming = true;
  draw();
  openTill(memory.get(KEY));
} else {
  $('key').focus();
}
