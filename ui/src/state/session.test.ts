import { afterAll, afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { eventually, json, load, serveApi } from './testing.ts';

const { session } = await load<typeof import('./session.svelte.ts')>('state/session.svelte.ts');
const { connection } = await load<typeof import('./connection.svelte.ts')>('state/connection.svelte.ts');
const { request, watchApi } = await load<typeof import('../api/client.ts')>('api/client.ts');
watchApi({
  onUnauthenticated: () => session.lost(),
  whenBack: () => session.whenBack(),
  onReachable: (reachable) => connection.answered(reachable),
});

const me = { id: 1, name: 'admin', permissions: ['run'] };
const refusal = { error: { code: 'unauthenticated', message: 'No.', requestId: 'r' } };
afterEach(() => session.lost());
// The next test file shares this module.
afterAll(() => watchApi({ onUnauthenticated: () => {}, onReachable: () => {} }));

describe('a session', () => {
  it('is the user that the server says, with their rights', async () => {
    await serveApi({ '/api/v1/me': (_request, response) => json(response, me) });
    await session.check();
    expect([session.state, session.me?.name, session.may('run'), session.may('jobs.edit')]).toEqual([
      'signed-in',
      'admin',
      true,
      false,
    ]);
  });

  it('that never existed does not count as ended', async () => {
    await serveApi({ '/api/v1/me': (_request, response) => json(response, refusal, 401) });
    await session.check();
    expect([session.state, session.ended, session.may('run')]).toEqual(['signed-out', false, false]);
  });

  it('that the server no longer knows has ended, whichever request finds out', async () => {
    await serveApi({
      '/api/v1/sign-in': (_request, response) => json(response, me),
      '/api/v1/me': (_request, response) => json(response, refusal, 401),
    });
    await session.signIn('admin', 'a password of some length');
    expect(session.state).toBe('signed-in');
    const { fetchMe } = await load<typeof import('../api/people/session.ts')>('api/people/session.ts');
    const asked = [fetchMe(), fetchMe()];
    expect((await Promise.allSettled(asked)).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect([session.state, session.ended]).toEqual(['signed-out', true]);
    // What is on the page still belongs to the user who was signed in, with their rights.
    expect([session.me?.name, session.may('run')]).toEqual(['admin', true]);
  });

  it('that ended sends nothing: reads of a page wait for its user, changes are refused', async () => {
    let isOver = false;
    const { asked } = await serveApi({
      '/api/v1/sign-in': (_request, response) => {
        isOver = false;
        json(response, me);
      },
      '/api/v1/segments': (_request, response) =>
        isOver ? json(response, refusal, 401) : json(response, { items: [], nextCursor: null }),
    });
    await session.signIn('admin', 'a password of some length');
    isOver = true;
    const page = new AbortController();
    const read = request('GET', '/api/v1/segments', { signal: page.signal });
    await eventually(() => session.ended).toBe(true);
    const change = request('POST', '/api/v1/segments', { body: { name: 'dmz' } });
    await expect(change).rejects.toMatchObject({ code: 'unauthenticated' });
    // A read without a signal, which prepares a change.
    await expect(request('GET', '/api/v1/segments')).rejects.toMatchObject({ code: 'unauthenticated' });
    const abort = new AbortController();
    const left = request('GET', '/api/v1/segments', { signal: abort.signal });
    abort.abort();
    await expect(left).rejects.toMatchObject({ name: 'AbortError' });
    expect(asked).toEqual(['POST /api/v1/sign-in', 'GET /api/v1/segments']);
    const before = session.me;
    await session.signIn('admin', 'a password of some length');
    expect(await read).toEqual({ items: [], nextCursor: null });
    expect([session.state, session.ended]).toEqual(['signed-in', false]);
    expect(session.me).toBe(before);
  });

  it('allows what is held on one scope that the object is in; with an API token, on one of the token’s scopes too', async () => {
    const [segment, group, category] = [
      { kind: 'segment' as const, id: 1 },
      { kind: 'target_group' as const, id: 1 },
      { kind: 'category' as const, id: 2 },
    ];
    const reach = [
      { permission: 'run', everywhere: false, within: [[segment, category]] },
      { permission: 'read', everywhere: false, within: [[segment], [group]] },
      { permission: 'targets.edit', everywhere: true, within: [] },
    ];
    await serveApi({ '/api/v1/me': (_request, response) => json(response, { ...me, reach }) });
    await session.check();
    expect(session.mayOn('run', [segment])).toBe(true);
    expect(session.mayOn('run', [group])).toBe(false);
    expect(session.mayOn('run', [group, category])).toBe(true);
    expect(session.mayOn('read', [segment])).toBe(false);
    expect(session.mayOn('read', [segment, group])).toBe(true);
    expect(session.mayOn('targets.edit', [])).toBe(true);
    expect(session.mayOn('jobs.edit', [category])).toBe(false);
    expect([session.mayEverywhere('targets.edit'), session.mayEverywhere('run')]).toEqual([true, false]);
  });

  it('picks up changed rights, and keeps what it knows if no answer comes', async () => {
    let may = ['run'];
    let answers = true;
    await serveApi({
      '/api/v1/me': (request, response) =>
        answers ? json(response, { ...me, permissions: may }) : request.socket.destroy(),
    });
    await session.check();
    const before = session.me;
    await session.refresh();
    // The same answer doesn't make a new object: pages would react for nothing.
    expect(session.me).toBe(before);
    may = ['run', 'people.edit'];
    await session.refresh();
    expect(session.may('people.edit')).toBe(true);
    answers = false;
    await session.refresh();
    expect([session.state, session.may('people.edit')]).toEqual(['signed-in', true]);
  });

  it('that someone signed out of does not count as ended', async () => {
    await serveApi({
      '/api/v1/sign-in/exchange': (_request, response) => json(response, me),
      '/api/v1/sign-out': (_request, response) => response.writeHead(204).end(),
    });
    await session.exchange('a code');
    await session.signOut();
    expect([session.state, session.ended]).toEqual(['signed-out', false]);
  });

  it('that had ended before the sign-out is left all the same, and nothing of it stays', async () => {
    await serveApi({
      '/api/v1/sign-in/exchange': (_request, response) => json(response, me),
      '/api/v1/sign-out': (_request, response) => json(response, refusal, 401),
    });
    await session.exchange('a code');
    await session.signOut();
    expect([session.state, session.ended, session.me, session.whenBack()]).toEqual([
      'signed-out',
      false,
      undefined,
      undefined,
    ]);
  });

  it('is not left if the server did not confirm the sign-out', async () => {
    await serveApi({
      '/api/v1/sign-in/exchange': (_request, response) => json(response, me),
      '/api/v1/sign-out': (request) => request.socket.destroy(),
    });
    await session.exchange('a code');
    await expect(session.signOut()).rejects.toMatchObject({ code: 'offline' });
    expect([session.state, session.me?.name]).toEqual(['signed-in', 'admin']);
  });

  it('is neither signed in nor out while the server does not answer, and the connection shows it', async () => {
    await serveApi({ '/api/v1/me': (request) => request.socket.destroy() });
    await session.check();
    expect([session.state, connection.state]).toEqual(['unreachable', 'reconnecting']);
    await serveApi({ '/api/v1/me': (_request, response) => json(response, me) });
    await session.check();
    expect([session.state, connection.state]).toEqual(['signed-in', 'live']);
  });

  it('is asked for again by itself while the server does not answer, until nobody wants to know', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    onTestFinished(() => void vi.useRealTimers());
    await serveApi({ '/api/v1/me': (request) => request.socket.destroy() });
    await session.check();
    const { asked } = await serveApi({ '/api/v1/me': (_request, response) => json(response, me) });
    const stop = session.keepAsking();
    vi.advanceTimersByTime(5_000);
    await vi.waitFor(() => expect(session.state).toBe('signed-in'), { timeout: 10_000 });
    stop();
    vi.advanceTimersByTime(60_000);
    expect(asked).toEqual(['GET /api/v1/me']);
  });

  it('is asked for with one question at a time, however long that one takes', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    onTestFinished(() => void vi.useRealTimers());
    const held: (() => void)[] = [];
    const { asked } = await serveApi({
      '/api/v1/me': (_request, response) => held.push(() => json(response, me)),
    });
    session.state = 'unreachable';
    const stop = session.keepAsking();
    onTestFinished(stop);
    vi.advanceTimersByTime(20_000);
    await vi.waitFor(() => expect(held).toHaveLength(1), { timeout: 10_000 });
    held[0]?.();
    await vi.waitFor(() => expect(session.state).toBe('signed-in'), { timeout: 10_000 });
    vi.advanceTimersByTime(5_000);
    await vi.waitFor(() => expect(held.length).toBeGreaterThan(1), { timeout: 10_000 });
    held[1]?.();
    expect(asked).toHaveLength(2);
  });
});

describe('the connection', () => {
  it('is live again only when everything that was down is up', () => {
    connection.answered(true);
    connection.streamDown();
    connection.streamDown();
    connection.streamUp();
    expect(connection.state).toBe('reconnecting');
    connection.answered(true);
    expect(connection.state).toBe('reconnecting');
    connection.streamUp();
    connection.streamUp();
    expect(connection.state).toBe('live');
    connection.streamDown();
    expect(connection.state).toBe('reconnecting');
    connection.streamUp();
  });
});
