// The payment page of one invoice: what to pay and how, and what has become of it.
import { $, clockText, follow, startCountdown, startLanguage, text, write, writeSum } from './common.js';

const page = $('invoice'), { id } = page.dataset;
const NOTES = { paid: 'paidNote', expired: 'expiredNote', cancelled: 'cancelledNote', unknown: 'unknownNote' };
let invoice, secondsLeft, countdown = 0, isReachable = true, copied = '';

const stateNow = () => invoice === undefined ? 'loading' : invoice === null ? 'unknown' : invoice.state;

/** Everything on the page from what is known. A server's or customer's word is only ever written as text. */
function draw() {
  const state = stateNow(), isOpen = state === 'open';
  page.dataset.state = state;
  write($('offline'), isReachable ? '' : text('offline'));
  write($('status'), text(state));
  writeSum($('sum'), invoice);
  write($('memo'), invoice?.memo ?? '');
  $('note').hidden = !(state in NOTES);
  write($('note'), state in NOTES ? text(NOTES[state]) : '');
  $('ways').hidden = $('left').hidden = !isOpen;
  $('receipt').hidden = $('print').hidden = state !== 'paid';
  document.title = [text(invoice === undefined ? 'payment' : state), $('shop').textContent].filter(Boolean).join(' · ');
  write($('copied'), copied && text(copied));
  clearInterval(countdown);
  if (isOpen) drawOpen();
  if (state === 'paid') drawReceipt();
}

function drawOpen() {
  countdown = startCountdown($('timer'), secondsLeft);
  if ($('text').value === invoice.text) return;
  $('text').value = invoice.text;
  $('qr').src = `/pay/${encodeURIComponent(id)}/qr.svg`;
  // Nothing but an invoice becomes a link.
  if (/^rill:[A-Z2-7]+$/.test(invoice.text)) $('open').href = invoice.text;
}

function drawReceipt() {
  write($('paidAt'), invoice.paid ? clockText(invoice.paid, true) : '');
  write($('number'), invoice.id);
}

/** The clipboard is only there over HTTPS (or on this machine); else the old way, else by hand. */
async function copy() {
  try {
    await navigator.clipboard.writeText(invoice.text);
    copied = 'copied';
  } catch {
    $('text').select();
    copied = document.execCommand('copy') ? 'copied' : 'copyByHand';
    if (copied === 'copied') $('copy').focus();
  }
  draw();
}

$('copy').addEventListener('click', copy);
$('text').addEventListener('focus', () => $('text').select());
$('print').addEventListener('click', () => print());
startLanguage(draw);
follow(id, (answer, left) => { invoice = answer; secondsLeft = left; draw(); },
  (reachable) => { isReachable = reachable; draw(); });
