// For tests of the state classes. Stands in for what a browser provides: animation frames that the test draws, and
// requests that go to the test's server.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, vi } from 'vitest';

/** Imports a module of the console by its path below `src`. All tests in a file get the same instance. */
export function load<T>(path: string): Promise<T> {
  return import(/* @vite-ignore */ `../${path}`) as Promise<T>;
}

export type Answer = (request: IncomingMessage, response: ServerResponse, url: URL) => void;

/** Answers the console's requests to the paths in `answers`, and any other with 404. */
export async function serveApi(answers: Record<string, Answer>): Promise<{ asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://127.0.0.1');
    asked.push(`${request.method} ${url.pathname}${url.search}`);
    const answer = answers[url.pathname];
    if (answer !== undefined) answer(request, response, url);
    else json(response, { error: { code: 'not_found', message: 'Nothing is here.', requestId: 'r' } }, 404);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const plain = fetch;
  vi.stubGlobal('fetch', (path: string, init: RequestInit) =>
    plain(new URL(path, `http://127.0.0.1:${port}`), init),
  );
  onTestFinished(async () => {
    vi.unstubAllGlobals();
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  return { asked };
}

export function json(response: ServerResponse, body: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** Replaces animation frames: they come when the test calls `draw`. */
export function stubFrames(): { draw(): void; waiting(): number } {
  let waiting = new Map<number, () => void>();
  let last = 0;
  vi.stubGlobal('requestAnimationFrame', (work: () => void) => {
    last += 1;
    waiting.set(last, work);
    return last;
  });
  vi.stubGlobal('cancelAnimationFrame', (id: number) => waiting.delete(id));
  return {
    draw: () => {
      const now = waiting;
      waiting = new Map();
      for (const work of now.values()) work();
    },
    waiting: () => waiting.size,
  };
}

/** Polls until an expectation about `answer()` holds; with a long timeout, for busy machines. */
export const eventually = <T>(answer: () => T) => expect.poll(answer, { timeout: 10_000, interval: 10 });
