// Ending a token or session together with what was made with it, directly and indirectly.
import type {
  ApiToken,
  CreatedApiToken,
  EndedMaker,
  EndedSessions,
  Made,
  SignInLink,
} from '@opsconductor/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Authority } from '../../../auth/authority.ts';
import { newMasterKey } from '../../../credentials/at-rest/master-key.ts';
import { createSegment } from '../../../segments/create-segment.ts';
import { createEnrollmentToken } from '../../../segments/enrollment/create-enrollment-token.ts';
import { holdRows, setupPeople, type TestPeople, untilWaiting } from './identity-testing.ts';

const dayMs = 86_400_000;
const administrator = new Authority([{ role: 'admin', permission: null, scope: null }]);
let t: TestPeople;
let admin: { id: number; token: string };
let service: { id: number };
beforeEach(async () => {
  t = await setupPeople();
  admin = await t.user('root', ['admin']);
  service = await t.call('POST', 'users', admin.token, { name: 'ci', kind: 'service' });
});
afterEach(() => t.close());

const make = (name: string, token = admin.token, path = 'tokens') =>
  t.call<CreatedApiToken>('POST', path, token, { name });
const listed = async (token = admin.token, path = 'tokens') =>
  (await t.call<{ items: ApiToken[] }>('GET', path, token)).items;
const named = (items: { name: string | null }[]) => items.map(({ name }) => name).sort();
const made = (query: string, token = admin.token) => t.call<Made>('GET', `me/made?${query}`, token);
const endWith = (path: string, token = admin.token) => t.call<Made>('DELETE', `${path}?made=true`, token);
const works = async (token: string) => (await t.request('GET', '/api/v1/users', { token })).status === 200;

/** A browser in which root is signed in, with the id of its session. */
async function signedIn(name = 'root') {
  const browser = await t.browser().enter(name);
  const rows = await t.sql<{ id: number }[]>`select max(id) as id from sessions`;
  const id = rows[0]?.id ?? 0;
  const send = async <T>(method: string, path: string, json?: unknown) => {
    const reply = await browser.request(method, path, json === undefined ? {} : { json });
    return (await reply.json()) as T;
  };
  return { browser, id, send };
}

/** Opens the link in a browser. */
async function openLink({ url }: SignInLink) {
  const browser = t.browser('192.0.2.9');
  const code = /#code=(.*)$/.exec(url)?.[1];
  expect(await browser.status('POST', 'sign-in/exchange', { code })).toBe(200);
  return browser;
}

async function enrollmentTokenMadeWith(id: number): Promise<{ id: number; segmentId: number }> {
  const caller = {
    userId: admin.id,
    name: 'root',
    authority: administrator,
    address: '192.0.2.1',
    requestId: 'r',
    maker: { kind: 'api_token', id } as const,
  };
  const { id: segmentId } = await createSegment(t.sql, newMasterKey(), { name: `s${id}` }, caller);
  const deps = {
    sql: t.sql,
    publicUrl: 'https://ops.example.com',
    caPin: () => undefined,
    agentSha256: async () => 'cd'.repeat(32),
  };
  return { id: (await createEnrollmentToken(deps, segmentId, caller)).id, segmentId };
}

describe('lists', () => {
  test('a token says with which token or session it was made, and whether that one has ended', async () => {
    const first = await make('first');
    const second = await make('second', first.token);
    const { browser, id, send } = await signedIn();
    const third = await send<CreatedApiToken>('POST', 'tokens', { name: 'third' });
    const begunAt = t.clock.now().toISOString();
    const told = async (name: string) => (await listed()).find((one) => one.name === name)?.madeWith;
    expect(second.madeWith).toEqual({
      kind: 'api_token',
      id: first.id,
      user: 'root',
      name: 'first',
      begunAt: null,
      hasEnded: false,
    });
    expect(third.madeWith).toEqual({
      kind: 'session',
      id,
      user: 'root',
      name: null,
      begunAt,
      hasEnded: false,
    });
    expect(await told('test')).toBeNull();
    await t.call('DELETE', `tokens/${first.id}`, admin.token, undefined, 204);
    await browser.status('POST', 'sign-out');
    expect(await told('second')).toMatchObject({ name: 'first', hasEnded: true });
    expect(await told('third')).toMatchObject({ begunAt, hasEnded: true });
  });

  test('a session that was not used for too long counts as ended, and so does a token that has expired', async () => {
    const { send } = await signedIn();
    await send('POST', 'tokens', { name: 'of the session' });
    const short = await t.call<CreatedApiToken>('POST', 'tokens', admin.token, {
      name: 'short',
      expiresInDays: 1,
    });
    await make('of the token', short.token);
    t.clock.advance(dayMs);
    const told = await listed();
    expect(told.find(({ name }) => name === 'of the session')?.madeWith?.hasEnded).toBe(true);
    expect(told.find(({ name }) => name === 'of the token')?.madeWith?.hasEnded).toBe(true);
  });
});

describe('ending a token', () => {
  test('leaves what was made with it, unless asked otherwise', async () => {
    const stolen = await make('stolen');
    const child = await make('child', stolen.token);
    await t.call('DELETE', `tokens/${stolen.id}`, admin.token, undefined, 204);
    expect(await works(child.token)).toBe(true);
  });

  test('with what was made with it ends also what was made indirectly, past what has ended in between', async () => {
    const stolen = await make('stolen');
    const child = await make('child', stolen.token);
    const grandchild = await make('grandchild', child.token);
    const ofService = await make('of ci', grandchild.token, `users/${service.id}/tokens`);
    const other = await make('other');
    await t.call('DELETE', `tokens/${child.id}`, admin.token, undefined, 204);
    const would = await made(`token=${stolen.id}`);
    expect(would).toMatchObject({ ends: 2, stays: 0 });
    expect(would.items).toMatchObject([
      { kind: 'api_token', name: 'grandchild', user: 'root', stays: null },
      { kind: 'api_token', name: 'of ci', user: 'ci', stays: null },
    ]);
    expect(await endWith(`tokens/${stolen.id}`)).toEqual(would);
    for (const { token } of [stolen, grandchild, ofService])
      expect((await t.request('GET', '/api/v1/tokens', { token })).status).toBe(401);
    expect(await works(other.token)).toBe(true);
    expect(await listed(admin.token, `users/${service.id}/tokens`)).toEqual([]);
  });

  test('ends links, the sessions that they opened, what was made there, and unused enrollment tokens', async () => {
    const stolen = await make('stolen');
    const [ada, bea] = await Promise.all(
      ['ada', 'bea'].map((name) => t.call<{ id: number }>('POST', 'users', admin.token, { name })),
    );
    const used = await t.call<SignInLink>('POST', `users/${ada?.id}/sign-in-link`, stolen.token);
    const unused = await t.call<SignInLink>('POST', `users/${bea?.id}/sign-in-link`, stolen.token);
    const browser = await openLink(used);
    const reply = await browser.request('POST', 'tokens', { json: { name: 'of ada' } });
    const { token } = (await reply.json()) as CreatedApiToken;
    const invitation = await enrollmentTokenMadeWith(stolen.id);
    const ended = await endWith(`tokens/${stolen.id}`);
    expect(ended).toMatchObject({ ends: 4, stays: 0 });
    expect(ended.items.map(({ kind, user, segment }) => [kind, user ?? segment])).toEqual([
      ['api_token', 'ada'],
      ['enrollment_token', `s${stolen.id}`],
      ['session', 'ada'],
      ['sign_in_link', 'bea'],
    ]);
    expect(await browser.status('GET', 'me')).toBe(401);
    expect((await t.request('GET', '/api/v1/me', { token })).status).toBe(401);
    const code = /#code=(.*)$/.exec(unused.url)?.[1];
    expect(await t.browser().status('POST', 'sign-in/exchange', { code })).toBe(401);
    expect(await t.sql`select from enrollment_tokens where id = ${invitation.id}`).toHaveLength(0);
  });

  test('says that an agent stays which was enrolled by a token that was made with it', async () => {
    const stolen = await make('stolen');
    const { id, segmentId } = await enrollmentTokenMadeWith(stolen.id);
    const [agent] = await t.sql<{ id: number }[]>`
      insert into agents (segment_id, name, signing_key, encryption_key, version, platform)
      values (${segmentId}, 'thief', '\\x01', '\\x02', '1', 'linux') returning id`;
    await t.sql`update enrollment_tokens set used_at = now(), used_by_agent = ${agent?.id ?? 0} where id = ${id}`;
    await t.sql`insert into made_with (kind, id, maker_kind, maker_id)
      values ('agent', ${agent?.id ?? 0}, 'enrollment_token', ${id})`;
    expect(await endWith(`tokens/${stolen.id}`)).toMatchObject({
      ends: 0,
      stays: 1,
      items: [{ kind: 'agent', name: 'thief', segment: `s${stolen.id}`, stays: 'agent' }],
    });
  });

  test('may be asked for once it has ended, and again; nobody else’s token is found', async () => {
    const stolen = await make('stolen');
    const child = await make('child', stolen.token);
    await t.call('DELETE', `tokens/${stolen.id}`, admin.token, undefined, 204);
    const ada = await t.user('ada', ['admin']);
    await t.call('DELETE', `tokens/${stolen.id}?made=true`, ada.token, undefined, 404);
    await t.call('GET', `me/made?token=${stolen.id}`, ada.token, undefined, 404);
    expect(await endWith(`tokens/${stolen.id}`)).toMatchObject({ ends: 1 });
    expect(await works(child.token)).toBe(false);
    expect(await endWith(`tokens/${stolen.id}`)).toEqual({ ends: 0, stays: 0, items: [] });
    expect(await endWith(`tokens/${child.id}`)).toEqual({ ends: 0, stays: 0, items: [] });
    await t.call('DELETE', 'tokens/999999?made=true', admin.token, undefined, 404);
    await t.call('GET', 'me/made?token=1&session=1', admin.token, undefined, 400);
  });

  test('ends only what its caller may end one by one, says what stays and why, and names nothing that they may not see', async () => {
    const ada = await t.user('ada', ['admin']);
    const stolen = await make('stolen', ada.token);
    const own = await make('own', stolen.token);
    const ofService = await make('of ci', stolen.token, `users/${service.id}/tokens`);
    await enrollmentTokenMadeWith(stolen.id);
    await t.sql`update role_grants set role = 'operator' where user_id = ${ada.id}`;
    t.authenticator.forgetAll();
    const ended = await endWith(`tokens/${stolen.id}`, ada.token);
    expect(ended).toMatchObject({ ends: 1, stays: 2 });
    expect(ended.items).toMatchObject([
      { kind: 'api_token', name: null, user: null, stays: 'needs_people_edit' },
      { kind: 'enrollment_token', segment: `s${stolen.id}`, stays: 'needs_agents_enroll' },
      { kind: 'api_token', name: 'own', user: 'ada', stays: null },
    ]);
    expect((await t.request('GET', '/api/v1/me', { token: own.token })).status).toBe(401);
    expect((await t.request('GET', '/api/v1/me', { token: ofService.token })).status).toBe(200);
  });

  test('leaves what belongs to someone who holds more than its caller', async () => {
    const help = await t.user('help', []);
    await t.call('POST', 'grants', admin.token, { userId: help.id, permission: 'people.edit' });
    const stolen = await make('stolen', help.token);
    const ofService = await make('of ci', stolen.token, `users/${service.id}/tokens`);
    await t.call('POST', 'grants', admin.token, { userId: service.id, role: 'admin' });
    const ended = await endWith(`tokens/${stolen.id}`, help.token);
    expect(ended).toMatchObject({ ends: 0, items: [{ name: 'of ci', stays: 'user_holds_more' }] });
    expect(await works(ofService.token)).toBe(true);
  });

  test('leaves the token that asks, and ends what was made with that one', async () => {
    const stolen = await make('stolen');
    const asks = await make('asks', stolen.token);
    const child = await make('child', asks.token);
    const ended = await endWith(`tokens/${stolen.id}`, asks.token);
    expect(ended.items).toMatchObject([
      { name: 'asks', stays: 'asks' },
      { name: 'child', stays: null },
    ]);
    expect([await works(asks.token), await works(child.token)]).toEqual([true, false]);
  });

  test('is refused as a whole if it would take the link of the last administrator who could sign in', async () => {
    const stolen = await make('stolen');
    const ada = await t.user('ada', ['admin']);
    await t.call('POST', `users/${ada.id}/sign-in-link`, stolen.token);
    await t.call('DELETE', `tokens/${stolen.id}?made=true`, admin.token, undefined, 409);
    expect(await works(stolen.token)).toBe(true);
  });

  test('has an audit row for each that was ended', async () => {
    const stolen = await make('stolen');
    await make('child', stolen.token);
    await make('of ci', stolen.token, `users/${service.id}/tokens`);
    await endWith(`tokens/${stolen.id}`);
    const rows = (await t.audited()).filter(({ action }) => action === 'api_token.revoked');
    expect(rows.map(({ detail }) => detail)).toMatchObject([
      { name: 'stolen', user: 'root', madeEnded: 2, madeLeft: 0 },
      { name: 'child', user: 'root', endedWith: 'API token stolen' },
      { name: 'of ci', user: 'ci', endedWith: 'API token stolen' },
    ]);
  });
});

describe('ending sessions', () => {
  test('ends what was made in one session, and not what was made in another', async () => {
    const thief = await signedIn();
    const owner = await signedIn();
    const stolen = await thief.send<CreatedApiToken>('POST', 'tokens', { name: 'thief’s' });
    const kept = await owner.send<CreatedApiToken>('POST', 'tokens', { name: 'owner’s' });
    await make('thief’s second', stolen.token);
    const would = await owner.send<Made>('GET', `me/made?session=${thief.id}`);
    expect(named(would.items)).toEqual(['thief’s', 'thief’s second']);
    expect(await owner.send('DELETE', `me/sessions/${thief.id}?made=true`)).toEqual(would);
    expect([await works(stolen.token), await works(kept.token)]).toEqual([false, true]);
    expect(await thief.browser.status('GET', 'me')).toBe(401);
  });

  test('ends what was made in a session that the thief has left', async () => {
    const thief = await signedIn();
    const stolen = await thief.send<CreatedApiToken>('POST', 'tokens', { name: 'thief’s' });
    await thief.browser.status('POST', 'sign-out');
    const ended = await endWith(`users/${admin.id}/sessions/${thief.id}`);
    expect(named(ended.items)).toEqual(['thief’s']);
    expect(await works(stolen.token)).toBe(false);
  });

  test('ends what was made in all sessions but the one that asks', async () => {
    const thieves = [await signedIn(), await signedIn()];
    for (const [i, one] of thieves.entries()) await one.send('POST', 'tokens', { name: `thief’s ${i}` });
    const owner = await signedIn();
    await owner.send('POST', 'tokens', { name: 'owner’s' });
    const would = await owner.send<Made>('GET', 'me/made');
    expect(named(would.items)).toEqual(['thief’s 0', 'thief’s 1']);
    const ended = await owner.send<EndedSessions>('DELETE', 'me/sessions?made=true');
    expect(ended).toEqual({ ended: 2, made: would });
    expect(named(await listed())).toEqual(['owner’s', 'test']);
  });

  test('an administrator ends all sessions of someone else with what was made there', async () => {
    const ada = await t.user('ada', ['operator']);
    const session = await signedIn('ada');
    await session.send('POST', 'tokens', { name: 'of ada' });
    expect(await t.call('GET', `users/${ada.id}/made`, admin.token)).toMatchObject({ ends: 1 });
    const ended = await t.call<EndedSessions>('DELETE', `users/${ada.id}/sessions?made=true`, admin.token);
    expect(ended).toMatchObject({ ended: 1, made: { ends: 1, items: [{ name: 'of ada', user: 'ada' }] } });
    const help = await t.user('help', []);
    await t.call('POST', 'grants', admin.token, { userId: help.id, permission: 'people.edit' });
    await t.call('DELETE', `users/${admin.id}/sessions?made=true`, help.token, undefined, 403);
  });
});

test('sessions and tokens that have ended are listed as long as something that was made with them still works', async () => {
  const thief = await signedIn();
  const begunAt = t.clock.now().toISOString();
  const first = await thief.send<CreatedApiToken>('POST', 'tokens', { name: 'first' });
  const second = await make('second', first.token);
  const open = await signedIn();
  await open.send('POST', 'tokens', { name: 'of an open session' });
  const list = async (path = 'me/ended-makers') =>
    (await t.call<{ items: EndedMaker[] }>('GET', path, admin.token)).items;
  expect(await list()).toEqual([]);
  await thief.browser.status('POST', 'sign-out');
  const ofSession = { kind: 'session', id: thief.id, name: null, begunAt };
  expect(await list()).toEqual([{ ...ofSession, made: 2 }]);
  await t.call('DELETE', `tokens/${first.id}`, admin.token, undefined, 204);
  const ofToken = { kind: 'api_token', id: first.id, name: 'first', begunAt: null };
  const both = await list(`users/${admin.id}/ended-makers`);
  expect(both).toHaveLength(2);
  expect(both).toEqual(
    expect.arrayContaining([
      { ...ofSession, made: 1 },
      { ...ofToken, made: 1 },
    ]),
  );
  expect(await list(`users/${service.id}/ended-makers`)).toEqual([]);
  await endWith(`me/sessions/${thief.id}`);
  expect(await list()).toEqual([]);
  expect(await works(second.token)).toBe(false);
});

describe('at the same moment', () => {
  test('a token that is being made with the one that is ended is ended too', async () => {
    const stolen = await make('stolen');
    const release = await holdRows(t.sql, `select from users where id = ${service.id} for update`);
    const making = make('of ci', stolen.token, `users/${service.id}/tokens`);
    await untilWaiting(t.sql, 1);
    const ending = endWith(`tokens/${stolen.id}`);
    await Promise.race([untilWaiting(t.sql, 2), ending]);
    await release('select');
    const late = await making;
    expect(named((await ending).items)).toEqual(['of ci']);
    expect((await t.request('GET', '/api/v1/me', { token: late.token })).status).toBe(401);
  });

  test('a session that is being opened by a link made with the one that is ended is ended too', async () => {
    const stolen = await make('stolen');
    const ada = await t.call<{ id: number }>('POST', 'users', admin.token, { name: 'ada' });
    const link = await t.call<SignInLink>('POST', `users/${ada.id}/sign-in-link`, stolen.token);
    const release = await holdRows(t.sql, `select from users where id = ${ada.id} for update`);
    const opening = openLink(link);
    await untilWaiting(t.sql, 1);
    const ending = endWith(`tokens/${stolen.id}`);
    await Promise.race([untilWaiting(t.sql, 2), ending]);
    await release('select');
    const browser = await opening;
    expect((await ending).items).toMatchObject([{ kind: 'session', user: 'ada' }]);
    expect(await browser.status('GET', 'me')).toBe(401);
  });

  test('nothing is made any more with a token that has been ended, even where it is still remembered', async () => {
    const stolen = await make('stolen');
    const invite = `users/${(await t.call<{ id: number }>('POST', 'users', admin.token, { name: 'ada' })).id}/sign-in-link`;
    expect(await works(stolen.token)).toBe(true);
    // As another server would: this one is not told.
    await t.sql`delete from api_tokens where id = ${stolen.id}`;
    await t.call('POST', 'tokens', stolen.token, { name: 'child' }, 401);
    await t.call('POST', invite, stolen.token, undefined, 401);
    await expect(enrollmentTokenMadeWith(stolen.id)).rejects.toMatchObject({ code: 'unauthenticated' });
  });
});

test('old rows from which nothing is found any more are deleted; those between living ones stay', async () => {
  const stolen = await make('stolen');
  const between = await make('between', stolen.token);
  const child = await make('child', between.token);
  const gone = await make('gone');
  for (const { id } of [between, gone]) await t.call('DELETE', `tokens/${id}`, admin.token, undefined, 204);
  await t.sql`update made_with set made_at = made_at - interval '31 days'`;
  await make('next');
  const ids = (await t.sql<{ id: number }[]>`select id from made_with order by id`).map(({ id }) => id);
  expect(ids).not.toContain(gone.id);
  expect(ids).toEqual(expect.arrayContaining([between.id, child.id]));
  expect(named((await endWith(`tokens/${stolen.id}`)).items)).toEqual(['child']);
});
