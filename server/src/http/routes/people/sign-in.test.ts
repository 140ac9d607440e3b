// What keeps a guesser from a password, without getting in the way of its owner.
import type { ErrorBody, Me } from '@opsconductor/protocol';
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { passwordCost } from '../../../auth/passwords/password-cost.ts';
import { hashPassword, isOutdated } from '../../../auth/passwords/passwords.ts';
import { hashCheaply } from '../../../auth/passwords/testing.ts';
import { insertUser, setPasswordHash } from '../../../store/people/users.ts';
import { holdRows, setupPeople, type TestPeople, untilWaiting } from './identity-testing.ts';

const real = hashCheaply();

const minuteMs = 60_000;
const password = 'correct horse battery';
const home = '192.0.2.1';
const away = '198.51.100.7';

let stored: string;
let t: TestPeople;
beforeEach(async () => {
  stored ??= await hashPassword(password);
  t = await setupPeople();
});
afterEach(() => t.close());

async function withPassword(name: string): Promise<number> {
  const id = await insertUser(t.sql, name, ['viewer']);
  await setPasswordHash(t.sql, id, stored);
  return id;
}

/** Locks the name for the address as this many wrong passwords would. */
async function failed(name: string, address: string, failures: number): Promise<void> {
  await t.sql`
    insert into sign_in_attempts (name_digest, address, failures, last_attempt_at)
    values (sha256(convert_to(lower(${name}::text), 'UTF8')), ${address}, ${failures}, ${t.clock.now()})`;
}

describe('wrong passwords', () => {
  test('lock the name for the address that they came from, and for no other', async () => {
    await withPassword('ada');
    await failed('ada', home, 9);
    expect((await t.browser(home).signIn('ada', 'wrong')).status).toBe(401);
    const locked = await t.browser(home).signIn('ada', password);
    expect(locked.status).toBe(429);
    expect(locked.headers.get('retry-after')).toBe('60');
    expect((await t.browser(away).signIn('ada', password)).status).toBe(200);
    t.clock.advance(minuteMs);
    expect((await t.browser(home).signIn('ada', password)).status).toBe(200);
  });

  test('lock for twice as long each further time, up to a quarter of an hour', async () => {
    await withPassword('ada');
    await failed('ada', home, 9);
    const waits: number[] = [];
    for (let i = 0; i < 6; i++) {
      expect((await t.browser(home).signIn('ada', 'wrong')).status).toBe(401);
      const wait = Number((await t.browser(home).signIn('ada', 'wrong')).headers.get('retry-after'));
      waits.push(wait);
      t.clock.advance(wait * 1000);
    }
    expect(waits).toEqual([60, 120, 240, 480, 900, 900]);
  });

  test('are forgotten after a right one, and after an hour without any', async () => {
    await withPassword('ada');
    await failed('ada', home, 9);
    expect((await t.browser(home).signIn('ada', password)).status).toBe(200);
    expect((await t.browser(home).signIn('ada', 'wrong')).status).toBe(401);
    expect((await t.browser(home).signIn('ada', password)).status).toBe(200);
    await failed('ada', away, 9);
    t.clock.advance(60 * minuteMs);
    expect((await t.browser(away).signIn('ada', 'wrong')).status).toBe(401);
    expect((await t.browser(away).signIn('ada', password)).status).toBe(200);
  });

  test('lock names that nobody has in the same way, in whatever case they are written', async () => {
    await failed('nobody', home, 9);
    expect((await t.browser(home).signIn('Nobody', 'wrong')).status).toBe(401);
    const locked = await t.browser(home).signIn('NOBODY', 'wrong');
    expect(locked.status).toBe(429);
    expect(((await locked.json()) as ErrorBody).error.message).toBe('Too many attempts. Try again in 60 s.');
  });

  test('sent at once are tried no more often than one after the other', async () => {
    await withPassword('ada');
    await failed('ada', home, 8);
    const statuses = await Promise.all(
      Array.from({ length: 6 }, async () => (await t.browser(home).signIn('ada', 'wrong')).status),
    );
    expect(statuses.sort()).toEqual([401, 401, 429, 429, 429, 429]);
  });

  test('given as the current password in a session count too', async () => {
    await withPassword('ada');
    const browser = t.browser(home);
    expect((await browser.signIn('ada', password)).status).toBe(200);
    await t.sql`update sign_in_attempts set failures = 9`;
    const change = (current: string) =>
      browser.status('PUT', 'me/password', { password: 'another good password', current });
    expect(await change('wrong')).toBe(400);
    expect(await change(password)).toBe(429);
  });

  test('are not guessed faster by many unknown addresses together, while a known address is not slowed down', async () => {
    await withPassword('ada');
    expect((await t.browser(home).signIn('ada', password)).status).toBe(200);
    // The sign-in above came from an unknown address too.
    for (let i = 0; i < 99; i++) t.signInLimits.countStrangersAttempt('ADA', 0);
    const stranger = await t.browser(away).signIn('ada', password);
    expect([stranger.status, stranger.headers.get('retry-after')]).toEqual([429, '1']);
    expect((await t.browser(home).signIn('ada', password)).status).toBe(200);
    t.clock.advance(1_000);
    expect((await t.browser(away).signIn('ada', password)).status).toBe(200);
  });

  test('from addresses that try often leave room for an address that tries for the first time', async () => {
    await withPassword('ada');
    for (let i = 0; i < 100; i++) t.signInLimits.countStrangersAttempt('ada', 3);
    await failed('ada', home, 3);
    expect((await t.browser(home).signIn('ada', 'wrong')).status).toBe(429);
    expect((await t.browser(away).signIn('ada', password)).status).toBe(200);
  });

  test('fill neither the log nor the table of attempts', async () => {
    await withPassword('ada');
    for (let i = 0; i < 200; i++) t.signInLimits.tellFailure();
    expect((await t.browser(home).signIn('ada', 'wrong')).status).toBe(401);
    expect(await t.audited()).toEqual([]);
    t.clock.advance(500);
    expect((await t.browser(home).signIn('nobody', 'my password by mistake')).status).toBe(401);
    expect(await t.audited()).toMatchObject([
      {
        action: 'session.sign_in_failed',
        actorName: 'unknown',
        detail: { by: 'password', failuresNotRecorded: 1 },
      },
    ]);
    t.clock.advance(61 * minuteMs);
    expect((await t.browser(home).signIn('other', 'x')).status).toBe(401);
    const rows = await t.sql`select count(*) as n from sign_in_attempts`;
    expect(rows[0]?.n).toBe(1);
  });
});

describe('a flood of sign-ins', () => {
  test('takes bounded memory, and the right password from another address gets through', async () => {
    const cheap = { ...passwordCost };
    onTestFinished(() => void Object.assign(passwordCost, cheap));
    // As much memory as in production, in a third of the time.
    Object.assign(passwordCost, { ...real, p: 1 });
    await setPasswordHash(t.sql, await insertUser(t.sql, 'ada', ['viewer']), await hashPassword(password));
    const before = process.memoryUsage().rss;
    let tried = 0;
    const flood = Array.from({ length: 400 }, async (_, i) => {
      const reply = await t
        .browser(`203.0.113.${i % 20}`)
        .signIn(i % 2 === 0 ? 'ada' : `nobody-${i}`, 'wrong');
      if (reply.status === 401) tried += 1;
      return reply;
    });
    const right = await t.browser(away).signIn('ada', password);
    const triedBefore = tried;
    const replies = await Promise.all(flood);
    expect(right.status).toBe(200);
    // The right password waits at most for one password of each of the 20 other addresses, for those that are tried two
    // at a time before and alongside it, and for those that are tried while its session is stored. The rest of the
    // flood comes later.
    expect(triedBefore).toBeLessThanOrEqual(32);
    expect(tried).toBeGreaterThan(triedBefore);
    const statuses = new Set(replies.map((reply) => reply.status));
    expect([...statuses].every((status) => [401, 429, 503].includes(status))).toBe(true);
    const unavailable = replies.find((reply) => reply.status === 503);
    expect(unavailable?.headers.get('retry-after')).toBe('5');
    // Two passwords of 32 MiB each are hashed at once; the rest is requests.
    expect(process.memoryUsage().rss - before).toBeLessThan(300 * 1024 * 1024);
  });
});

describe('a session', () => {
  test('is a new one at each sign-in, and never adopts a cookie that the browser already had', async () => {
    await withPassword('ada');
    await withPassword('eve');
    const planted = await t.browser(away).enter('eve');
    const victim = t.browser(home);
    victim.cookie = planted.cookie;
    expect((await victim.signIn('ada', password)).status).toBe(200);
    expect(victim.cookie).not.toBe(planted.cookie);
    expect(await (await victim.request('GET', 'me')).json()).toMatchObject({ name: 'ada' });
    expect(await planted.status('GET', 'me')).toBe(401);
    const made = t.browser(home);
    made.cookie = `${victim.cookie.split('=')[0]}=${'A'.repeat(43)}`;
    const chosen = made.cookie;
    expect((await made.signIn('ada', password)).status).toBe(200);
    expect(made.cookie).not.toBe(chosen);
  });

  test('opens in whatever case the name is written', async () => {
    await withPassword('Ada');
    expect((await t.browser().signIn('aDA', password)).status).toBe(200);
  });

  test('does not open for a user who is being deactivated, nor with a password that is being replaced', async () => {
    const id = await withPassword('ada');
    const release = await holdRows(t.sql, `select from users where id = ${id} for update`);
    const signingIn = t.browser().signIn('ada', password);
    await untilWaiting(t.sql, 1);
    await release(`update users set is_active = false where id = ${id}`);
    expect((await signingIn).status).toBe(401);
  });

  test('is listed with address, browser and times, and marked if it is the one that asks', async () => {
    await withPassword('ada');
    const laptop = t.browser(home);
    const phone = t.browser(away);
    const agents = { headers: { 'User-Agent': 'Laptop/1.0 \u00e9\u00a0x' } };
    await laptop.request('POST', 'sign-in', { json: { name: 'ada', password }, ...agents });
    t.clock.advance(minuteMs);
    await phone.signIn('ada', password);
    const { items } = (await (await laptop.request('GET', 'me/sessions')).json()) as {
      items: Record<string, unknown>[];
    };
    expect(items).toHaveLength(2);
    const own = items.find(({ isCurrent }) => isCurrent);
    expect(own).toMatchObject({
      address: home,
      userAgent: 'Laptop/1.0 x',
      lastSeenAt: t.clock.now().toISOString(),
    });
    expect(items.find(({ isCurrent }) => !isCurrent)).toMatchObject({ address: away, userAgent: '' });
  });

  test('is ended one by one, or all others at once, and never those of another user', async () => {
    await withPassword('ada');
    await insertUser(t.sql, 'eve', ['viewer']);
    const [one, two, three] = [
      await t.browser().enter('ada'),
      await t.browser().enter('ada'),
      await t.browser().enter('ada'),
    ];
    const eve = await t.browser().enter('eve');
    const idOf = async (browser: typeof one) => {
      const { items } = (await (await browser.request('GET', 'me/sessions')).json()) as {
        items: { id: number; isCurrent: boolean }[];
      };
      return items.find(({ isCurrent }) => isCurrent)?.id;
    };
    expect(await one.status('DELETE', `me/sessions/${await idOf(eve)}`)).toBe(404);
    expect(await one.status('DELETE', `me/sessions/${await idOf(two)}`)).toBe(204);
    expect(await two.status('GET', 'me')).toBe(401);
    expect(await (await one.request('DELETE', 'me/sessions')).json()).toEqual({ ended: 1 });
    expect(await three.status('GET', 'me')).toBe(401);
    expect(await one.status('GET', 'me')).toBe(200);
    expect(await eve.status('GET', 'me')).toBe(200);
  });
});

describe('a user who lost their password', () => {
  test('sets a new one soon after a one-time code, without the previous one', async () => {
    await withPassword('ada');
    const browser = await t.browser().enter('ada');
    const needed = async () =>
      ((await (await browser.request('GET', 'me')).json()) as Me).needsCurrentPassword;
    const change = (to: string) => browser.status('PUT', 'me/password', { password: to });
    expect(await needed()).toBe(false);
    expect(await change('another good password')).toBe(204);
    expect((await t.browser().signIn('ada', 'another good password')).status).toBe(200);
    t.clock.advance(30 * minuteMs);
    expect(await needed()).toBe(true);
    expect(await change('a third good password')).toBe(400);
  });

  test('must give the current one in a session that was opened with a password', async () => {
    await withPassword('ada');
    const browser = t.browser();
    const me = (await (await browser.signIn('ada', password)).json()) as Me;
    expect(me.needsCurrentPassword).toBe(true);
    expect(await browser.status('PUT', 'me/password', { password: 'another good password' })).toBe(400);
  });
});

test('a user who sets their password over and over is refused, and others can still sign in', async () => {
  await withPassword('ada');
  await withPassword('eve');
  const eve = t.browser('198.51.100.7');
  expect((await eve.signIn('eve', password)).status).toBe(200);
  const change = () => eve.status('PUT', 'me/password', { password, current: password });
  const changes = Array.from({ length: 30 }, change);
  expect((await t.browser('192.0.2.9').signIn('ada', password)).status).toBe(200);
  const statuses = await Promise.all(changes);
  // Of those that run at the same time, only one finds the password that it has checked.
  expect(statuses.filter((status) => status === 204 || status === 409)).toHaveLength(5);
  expect(statuses.filter((status) => status === 429)).toHaveLength(25);
  t.clock.advance(30_000);
  expect(await change()).toBe(204);
});

describe('the limits of a session', () => {
  test('are set on the server: how long it may be unused, and how long it may last at all', async () => {
    await t.close();
    const session = { idleMs: 5 * minuteMs, absoluteMs: 12 * minuteMs };
    t = await setupPeople({ session, apiTokenMaxDays: 365 });
    await insertUser(t.sql, 'ada', ['viewer']);
    const idle = await t.browser().enter('ada');
    t.clock.advance(5 * minuteMs);
    expect(await idle.status('GET', 'me')).toBe(401);
    const used = await t.browser().enter('ada');
    for (let i = 0; i < 2; i++) {
      t.clock.advance(4 * minuteMs);
      expect(await used.status('GET', 'me')).toBe(200);
    }
    t.clock.advance(4 * minuteMs);
    expect(await used.status('GET', 'me')).toBe(401);
  });

  test('also apply to sessions that were opened when they were longer', async () => {
    await insertUser(t.sql, 'ada', ['viewer']);
    const browser = await t.browser().enter('ada');
    await t.sql`update sessions set created_at = created_at - interval '8 days', expires_at = expires_at + interval '1 year'`;
    t.clock.advance(5_000);
    expect(await browser.status('GET', 'me')).toBe(401);
  });
});

describe('a stored password', () => {
  test('that was hashed at a lower cost is hashed again when its owner signs in', async () => {
    const id = await insertUser(t.sql, 'ada', ['viewer']);
    // scrypt("password", "NaCl", N=1024, r=8, p=16), RFC 7914 section 12.
    const hash = Buffer.from('fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162', 'hex');
    await setPasswordHash(t.sql, id, `scrypt$1024$8$16$TmFDbA$${hash.toString('base64url')}`);
    expect((await t.browser().signIn('ada', 'passwort')).status).toBe(401);
    expect((await t.browser().signIn('ada', 'password')).status).toBe(200);
    const rows = await t.sql<{ passwordHash: string }[]>`select password_hash from users`;
    expect(isOutdated(rows[0]?.passwordHash ?? '')).toBe(false);
    expect((await t.browser().signIn('ada', 'password')).status).toBe(200);
  });
});
