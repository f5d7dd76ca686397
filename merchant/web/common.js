// What the payment page and the till share: language, amounts on the screen, an invoice that is followed.
import { formatUnits } from './amounts.js';
import { LANGUAGES, TEXTS } from './texts.js';

export const $ = (id) => document.getElementById(id);

// ---- language: the switch, else what the server chose by ?lang= or Accept-Language ----

const LANGUAGE_KEY = 'rill-language';

// Storage may be forbidden (a frame, a private window): then the choice lasts as long as the page.
const stored = (action) => { try { return action(); } catch { return null; } };
export const memory = {
  get: (key) => stored(() => sessionStorage.getItem(key)),
  set: (key, value) => stored(() => sessionStorage.setItem(key, value)),
  remove: (key) => stored(() => sessionStorage.removeItem(key)),
};

const isAsked = new URLSearchParams(location.search).has('lang');
let language = (isAsked ? null : memory.get(LANGUAGE_KEY)) ?? document.documentElement.lang;
if (!LANGUAGES.includes(language)) language = LANGUAGES[0];

export function text(key, values = {}) {
  return TEXTS[key][LANGUAGES.indexOf(language)].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** Shows every fixed text of the page in the chosen language, now and whenever the switch is used; then calls redraw. */
export function startLanguage(redraw) {
  const apply = () => {
    document.documentElement.lang = language === 'zh' ? 'zh-Hans' : 'en';
    for (const element of document.querySelectorAll('[data-text]')) element.textContent = text(element.dataset.text);
    for (const element of document.querySelectorAll('[data-label]')) element.setAttribute('aria-label', text(element.dataset.label));
    for (const element of document.querySelectorAll('[data-alt]')) element.alt = text(element.dataset.alt);
    for (const element of document.querySelectorAll('[data-hint]')) element.placeholder = text(element.dataset.hint);
    $('language').lang = text('languageCode') === 'zh' ? 'zh-Hans' : 'en';
    redraw();
  };
  $('language').addEventListener('click', () => {
    language = text('languageCode');
    memory.set(LANGUAGE_KEY, language);
    apply();
  });
  apply();
}

// ---- on the screen ----

/** Writes only what has changed, so that a screen reader is not told the same again. */
export function write(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

/** Base units (text or BigInt) with the asset's symbol. */
export const amountText = (units, asset) => `${formatUnits(BigInt(units), asset.decimals)} ${asset.symbol}`;

const two = (number) => String(number).padStart(2, '0');

/** "4:05", "1:00:00". */
export function durationText(seconds) {
  const left = Math.max(0, Math.floor(seconds)), hours = Math.floor(left / 3600), minutes = Math.floor(left / 60) % 60;
  return hours > 0 ? `${hours}:${two(minutes)}:${two(left % 60)}` : `${minutes}:${two(left % 60)}`;
}

export function clockText(unixSeconds, withDate = false) {
  const day = withDate ? { year: 'numeric', month: 'short', day: 'numeric' } : {};
  return new Date(unixSeconds * 1000).toLocaleString(language === 'zh' ? 'zh-CN' : 'en', { hour: '2-digit', minute: '2-digit', hourCycle: 'h23', ...day });
}

/** What is to be paid, or was; nothing while there is no invoice. */
export function writeSum(element, invoice) {
  const units = invoice && (invoice.paid_units ?? invoice.amount_units);
  const sum = !invoice ? '' : units === null ? text('anyAmount') : amountText(units, invoice.asset);
  write(element, sum);
  element.classList.toggle('long', sum.length > 14);
}

// ---- following an invoice ----

const POLL_MS = 2000;         // while there is no stream
const POLL_STREAM_MS = 15000; // beside a stream, in case it has gone deaf
const POLL_ENDED_MS = 30000;  // an expired invoice may yet turn out to have been paid in time
const ANSWER_MS = 8000;
const EVENTS = ['message', 'invoice.paid', 'invoice.expired', 'invoice.cancelled', 'payment.received', 'payment.refunded'];

/** Calls onInvoice(invoice, secondsLeft()) with each answer, onInvoice(null) if there is no such invoice, and
 *  onReachable(bool) with each success and failure. The stream only says when to ask: what is shown comes from one
 *  place. Returns a function that ends it. */
export function follow(id, onInvoice, onReachable) {
  const address = `/pay/${encodeURIComponent(id)}`;
  const ending = new AbortController();
  let stream = null, timer = 0, isAsking = false, isDue = false, hasStream = false, hasEnded = false, isKnown = true;

  const plan = (delay) => { clearTimeout(timer); if (!ending.signal.aborted) timer = setTimeout(ask, delay); };

  async function ask() {
    if (isAsking) { isDue = true; return; }
    isAsking = true;
    try {
      const response = await fetch(`${address}.json`, { cache: 'no-store', signal: AbortSignal.timeout(ANSWER_MS) });
      if (response.status === 429) return; // asked too often from this address: later
      if (!response.ok && response.status !== 404) throw new Error(`status ${response.status}`);
      const invoice = response.ok ? await response.json() : null;
      if (ending.signal.aborted) return;
      const asked = performance.now();
      isKnown = invoice !== null;
      hasEnded = isKnown && invoice.state !== 'open';
      onReachable(true);
      onInvoice(invoice, () => invoice.expires - invoice.now - (performance.now() - asked) / 1000);
      if (invoice?.state === 'paid') end();
    } catch {
      if (!ending.signal.aborted) onReachable(false);
    } finally {
      isAsking = false;
      plan(isDue ? 0 : hasEnded || !isKnown ? POLL_ENDED_MS : hasStream ? POLL_STREAM_MS : POLL_MS);
      isDue = false;
    }
  }

  function listen() {
    stream = new EventSource(`${address}/events`);
    stream.addEventListener('open', () => { hasStream = true; ask(); });
    for (const name of EVENTS) stream.addEventListener(name, ask);
    stream.addEventListener('error', () => {
      const isNew = hasStream;
      hasStream = false;
      if (isNew) ask();
      // The browser tries again by itself, unless the server's answer was no stream at all.
      if (stream.readyState === EventSource.CLOSED && !ending.signal.aborted) setTimeout(restart, POLL_STREAM_MS);
    });
  }

  const restart = () => { if (!ending.signal.aborted) listen(); };

  function end() {
    ending.abort();
    clearTimeout(timer);
    stream.close();
  }

  const { signal } = ending;
  addEventListener('online', ask, { signal });
  addEventListener('offline', () => onReachable(false), { signal });
  document.addEventListener('visibilitychange', () => document.hidden || ask(), { signal });
  listen();
  ask();
  return end;
}

/** Counts down an open invoice in an element with role=timer (which no screen reader reads out by itself). */
export function startCountdown(element, secondsLeft) {
  const tick = () => write(element, durationText(secondsLeft()));
  tick();
  return setInterval(tick, 500);
}
