// The merchant's API as the till uses it.
const ANSWER_MS = 10000;
const SILENCE_MS = 30000; // a stream says something every 10 s, if only that it lives

/** What went wrong: kind is 'key', 'scope', 'busy', 'refused' (with the server's own sentence in message) or 'away'. */
export class ApiError extends Error {
  constructor(kind, message = '') { super(message); this.kind = kind; }
}

const KINDS = { 401: 'key', 403: 'scope', 429: 'busy' };

// crypto.randomUUID is only there over HTTPS, and a till may stand in a shop's own network.
export const randomKey = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');

export class Api {
  constructor(key) { this.key = key; }

  async request(path, options = {}) {
    const headers = { Authorization: `Bearer ${this.key}`, ...options.headers };
    let response;
    try {
      response = await fetch(path, { cache: 'no-store', ...options, headers });
    } catch {
      throw new ApiError('away');
    }
    if (response.ok) return response;
    const said = await response.json().catch(() => null);
    throw new ApiError(KINDS[response.status] ?? 'refused', said?.error?.message ?? `HTTP ${response.status}`);
  }

  async answer(path, options) {
    const response = await this.request(path, { signal: AbortSignal.timeout(ANSWER_MS), ...options });
    try {
      return await response.json();
    } catch {
      throw new ApiError('away');
    }
  }

  get(path) { return this.answer(path); }

  /** A write; the same idempotencyKey again does it once. */
  post(path, body, idempotencyKey) {
    const headers = { 'Content-Type': 'application/json', 'Idempotency-Key': idempotencyKey };
    return this.answer(path, { method: 'POST', headers, body: JSON.stringify(body) });
  }

  /** Every page of a list: path has its '?', name is the member that holds the rows. */
  async all(path, name) {
    const rows = [];
    for (let cursor = ''; ;) {
      const page = await this.get(path + (cursor && `&cursor=${encodeURIComponent(cursor)}`));
      rows.push(...page[name]);
      if (!page.next) return rows;
      cursor = page.next;
    }
  }

  /** Calls onEvent with the data of each event of /v1/events until the stream ends or signal aborts it. (EventSource
   *  cannot send the key.) onOpen: the stream is there. */
  async events(onOpen, onEvent, signal) {
    const response = await this.request('/v1/events', { signal, headers: { Accept: 'text/event-stream' } });
    onOpen();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ''; ;) {
      const silence = setTimeout(() => reader.cancel(), SILENCE_MS);
      const { value, done } = await reader.read().finally(() => clearTimeout(silence));
      if (done) return;
      const events = (rest + value).replace(/\r\n?/g, '\n').split('\n\n');
      rest = events.pop();
      for (const event of events) {
        const data = event.split('\n').filter((line) => line.startsWith('data:')).map((line) => line.slice(5)).join('\n');
        if (data) onEvent(JSON.parse(data));
      }
    }
  }
}
