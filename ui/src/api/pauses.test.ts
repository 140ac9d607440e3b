import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { send } from './client.ts';
import { pause } from './pauses.ts';

const longMs = 600_000;
const owner = new AbortController();
beforeEach(async () => {
  // Whatever other tests were answered last.
  vi.stubGlobal('fetch', answer);
  await send('GET', '/api/v1/me');
});
afterEach(() => {
  vi.unstubAllGlobals();
  owner.abort();
});

/** Whether a pause has ended after this request. */
async function endedBy(answer: () => Promise<Response>, paused: Promise<void>): Promise<boolean> {
  vi.stubGlobal('fetch', answer);
  await send('GET', '/api/v1/me').catch(() => undefined);
  return Promise.race([
    paused.then(() => true),
    new Promise<false>((resolve) => setImmediate(resolve, false)),
  ]);
}
const offline = () => Promise.reject(new TypeError('fetch failed'));
const gateway = () => Promise.resolve(new Response('', { status: 502 }));
const answer = () => Promise.resolve(Response.json({}));

describe('a pause', () => {
  it('ends with the first answer after a time without any, not with each answer', async () => {
    const paused = pause(longMs, owner.signal);
    expect(await endedBy(answer, paused)).toBe(false);
    expect(await endedBy(offline, paused)).toBe(false);
    expect(await endedBy(gateway, paused)).toBe(false);
    expect(await endedBy(answer, paused)).toBe(true);
    const later = pause(longMs, owner.signal);
    expect(await endedBy(answer, later)).toBe(false);
  });
});
