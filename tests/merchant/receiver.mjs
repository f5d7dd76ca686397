// A shop's web hook: keeps what it is told, and answers as the test says.
import http from 'node:http';
import { once } from 'node:events';

export class Receiver {
  constructor() {
    this.told = []; // { at, headers, body, event, status }
    this.answer = () => 200;
    this.server = http.createServer((request, response) => {
      const parts = [];
      request.on('data', (part) => parts.push(part));
      request.on('end', () => {
        const body = Buffer.concat(parts).toString(), event = JSON.parse(body);
        const status = this.answer(event, request);
        this.told.push({ at: Date.now(), headers: request.headers, path: request.url, body, event, status });
        if (status === 0) return request.socket.destroy();
        if (status === undefined) return undefined; // no answer at all
        if (status >= 300 && status < 400) response.setHeader('location', this.redirect);
        response.statusCode = status;
        return response.end('taken');
      });
    });
  }

  async open() {
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    this.url = `http://127.0.0.1:${this.server.address().port}/hook?a=b`;
    return this;
  }

  taken() { return this.told.filter(({ status }) => status === 200).map(({ event }) => event); }

  async until(what, holds) {
    for (const end = Date.now() + 200000; Date.now() < end;) {
      if (holds(this.taken())) return this.taken();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`in vain: ${what}; told: ${JSON.stringify(this.told.map(({ event, status }) => [event.type, status]))}`);
  }

  close() {
    this.server.close();
    this.server.closeAllConnections();
  }
}
