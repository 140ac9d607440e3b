import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { followEvents, type StreamState } from './event-stream.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

/** Starts a server that answers its requests, in order, with `answers`. */
async function setup(...answers: ((request: IncomingMessage, response: ServerResponse) => void)[]) {
  const asked: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    asked.push(request.headers['last-event-id'] as string | undefined);
    answers[Math.min(asked.length, answers.length) - 1]?.(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const owner = new AbortController();
  closing.push(async () => {
    owner.abort();
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  const events: string[] = [];
  const states: StreamState[] = [];
  const follow = (lastEventId = '') =>
    followEvents({
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/events`,
      lastEventId,
      signal: owner.signal,
      onEvent: (event) => void events.push(event.data),
      onState: (state) => void states.push(state),
    });
  return { asked, events, states, follow, owner };
}

function stream(response: ServerResponse, text: string) {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.write(text);
}
const end = 'event: end\ndata: {}\n\n';

describe('following events', () => {
  it('resumes from the last complete event after a cut, and stops at the end', async () => {
    const t = await setup(
      (_request, response) => {
        stream(response, 'id: 5\ndata: one\n\nid: 6\ndata: br');
        response.end();
      },
      (_request, response) => stream(response, `id: 6\ndata: two\n\n${end}`),
    );
    await t.follow();
    expect(t.asked).toEqual([undefined, '5']);
    expect(t.events).toEqual(['one', 'two']);
    expect(t.states).toEqual(['connecting', 'live', 'waiting', 'waiting', 'live', 'ended']);
  });

  it('begins where asked to', async () => {
    const t = await setup((_request, response) => stream(response, end));
    await t.follow('12~5.1.40');
    expect(t.asked).toEqual(['12~5.1.40']);
  });

  it('retries while the server is not ready, and gives up when it is refused', async () => {
    const t = await setup(
      (_request, response) => response.writeHead(503).end(),
      (_request, response) => response.writeHead(404).end(),
    );
    await t.follow();
    expect(t.asked.length).toBe(2);
    expect(t.states.at(-1)).toBe('failed');
  });

  it('ends when its owner aborts it', async () => {
    const t = await setup((_request, response) => stream(response, 'data: one\n\n'));
    const followed = t.follow();
    await expect.poll(() => t.events).toEqual(['one']);
    t.owner.abort();
    await followed;
    expect(t.states.at(-1)).toBe('live');
  });
});
