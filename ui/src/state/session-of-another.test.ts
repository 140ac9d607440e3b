// A page whose user's session has ended, and another user who signs in there.
import { afterAll, expect, it } from 'vitest';
import { eventually, json, load, serveApi } from './testing.ts';

const { Session } = await load<typeof import('./session.svelte.ts')>('state/session.svelte.ts');
const { request, watchApi } = await load<typeof import('../api/client.ts')>('api/client.ts');
const session = new Session();
watchApi({
  onUnauthenticated: () => session.lost(),
  whenBack: () => session.whenBack(),
  onReachable: () => {},
});
// The next test file shares this module.
afterAll(() => watchApi({ onUnauthenticated: () => {}, onReachable: () => {} }));

it('a different user replaces the one before, and no waiting request is sent in the new user’s name', async () => {
  let user = 1;
  let isOver = false;
  const { asked } = await serveApi({
    '/api/v1/sign-in': (_request, response) => {
      isOver = false;
      json(response, { id: user, name: `user ${user}`, permissions: [] });
    },
    '/api/v1/me': (_request, response) => json(response, { id: user, name: `user ${user}`, permissions: [] }),
    '/api/v1/segments': (_request, response) =>
      isOver
        ? json(response, { error: { code: 'unauthenticated', message: 'No.', requestId: 'r' } }, 401)
        : json(response, { items: [], nextCursor: null }),
  });
  await session.signIn('user 1', 'a password of some length');
  isOver = true;
  let isAnswered = false;
  const { signal } = new AbortController();
  void request('GET', '/api/v1/segments', { signal }).then(() => {
    isAnswered = true;
  });
  await eventually(() => session.ended).toBe(true);
  user = 2;
  await session.signIn('user 2', 'a password of some length');
  expect([session.replaced, session.me, session.ended, session.state]).toEqual([
    true,
    undefined,
    false,
    'checking',
  ]);
  void request('GET', '/api/v1/segments', { signal }).then(() => {
    isAnswered = true;
  });
  await session.refresh();
  expect(isAnswered).toBe(false);
  expect(asked.filter((line) => line.includes('segments'))).toHaveLength(1);
});
