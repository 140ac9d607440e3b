// Kerberos against a KDC and an acceptor of MIT Kerberos.
import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { readFileSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, onTestFinished } from 'vitest';
import { identifyMessage } from '../../messages/soap.ts';
import {
  connectionTo,
  errorOf,
  hostOfFile,
  hostWithClocks,
  runOn,
  winrmMissing,
  winrmPassword,
  winrmTest,
  winrmUser,
} from '../../testing/winrm-setup.ts';
import { type Login, securityContextFor } from '../login.ts';
import { GssapiLibrary } from './gssapi-library.ts';
import { KerberosTickets } from './kerberos-tickets.ts';

const host = hostOfFile({ kerberos: true });
const user = `${winrmUser}@FIXTURE.TEST`;

beforeAll(() => {
  if (winrmMissing) return;
  // The library reads it on first use.
  process.env.KRB5_CONFIG = host.fixture.krb5Config;
});
// Other test files run in this process.
afterAll(() => {
  delete process.env.KRB5_CONFIG;
});

const kerberos = (more: Partial<Extract<Login, { method: 'kerberos' }>> = {}) =>
  ({ method: 'kerberos', user, from: { password: winrmPassword }, ...more }) as const;

winrmTest.for(['http', 'https', 'strict', 'sha384', 'pss'] as const)(
  'a command runs over %s with Kerberos',
  async (listener) => {
    const input = Buffer.alloc(200_000, 'some input\n');
    const { end, stdout } = await runOn(host.fixture, 'cat; exit 3', {
      listener,
      input,
      connection: { login: kerberos() },
    });
    expect(end).toMatchObject({ how: 'exited', exitCode: 3 });
    expect(stdout.equals(input)).toBe(true);
    expect((await host.fixture.stats()).refusals).toEqual([]);
  },
);

winrmTest.for([
  [{ host: '+3600s' }, /its clock is 60 minutes ahead of this machine’s/, /domain controllers \(NTP\)/],
  [{ kdc: '+3600s' }, /refused the login by Kerberos\.$/, /accepted user and password.*clocks of host/],
] as const)(
  'a host that refuses the ticket because of the clocks, %j, is distinguished from a wrong password',
  async ([ahead, message, advice]) => {
    const fixture = await hostWithClocks(ahead);
    const failed = runOn(fixture, 'exit 3', { connection: { login: kerberos() } });
    expect(await errorOf(failed)).toMatchObject({
      kind: 'auth_failed',
      message: expect.stringMatching(message),
      advice: expect.stringMatching(advice),
    });
  },
);

winrmTest('an agent whose own clock is wrong logs in anyway, with the KDC’s time', async () => {
  const fixture = await hostWithClocks({ host: '-3600s', kdc: '-3600s' });
  const { end } = await runOn(fixture, 'exit 3', { connection: { login: kerberos() } });
  expect(end).toMatchObject({ how: 'exited', exitCode: 3 });
});

winrmTest(
  'an agent whose clock is ahead by more than the lifetime of tickets is told to set it',
  async () => {
    const fixture = await hostWithClocks({ host: '-40000s', kdc: '-40000s' });
    expect(await errorOf(runOn(fixture, 'exit 3', { connection: { login: kerberos() } }))).toMatchObject({
      kind: 'auth_failed',
      message: expect.stringContaining('Ticket expired'),
      advice: expect.stringContaining('set that machine’s clock (NTP)'),
    });
  },
);

winrmTest('the realm is found in any spelling, and the principal of the host may be given', async () => {
  for (const login of [
    kerberos({ user: `${winrmUser}@fixture.test` }),
    kerberos({ user: `fixture.test\\${winrmUser}` }),
    kerberos({ principal: 'HTTP/localhost@FIXTURE.TEST' }),
  ]) {
    await connectionTo(host.fixture, 'http', { login }).request(identifyMessage());
  }
});

winrmTest('a keytab and a cache of tickets log in, too', async () => {
  await connectionTo(host.fixture, 'http', {
    login: kerberos({ from: { keytab: readFileSync(host.fixture.keytab) } }),
  }).request(identifyMessage());
  const cache = `FILE:${host.fixture.dir}/tickets`;
  execFileSync('/usr/bin/kinit', ['-k', '-t', host.fixture.keytab, '-c', cache, user]);
  const login = { method: 'kerberos', from: { cache } } as const;
  await connectionTo(host.fixture, 'http', { login }).request(identifyMessage());
});

winrmTest(
  'tickets are shared by the connections of one credential, but with no other credential',
  async () => {
    const library = await GssapiLibrary.load();
    const tickets = new KerberosTickets('one');
    onTestFinished(() => tickets.close());
    const client = { user, from: { keytab: readFileSync(host.fixture.keytab) } };
    const [first, second] = await Promise.all([tickets.take(library, client), tickets.take(library, client)]);
    expect(second).toBe(first);
    const other = await tickets.of('two').take(library, client);
    expect(other).not.toBe(first);
    tickets.forget(first);
    const third = await tickets.take(library, client);
    expect(third).not.toBe(first);
    for (const each of [first, second, other, third]) each.release();
    for (const login of [kerberos({ from: client.from }), kerberos()]) {
      for (const _ of [1, 2])
        await connectionTo(host.fixture, 'http', { login, tickets }).request(identifyMessage());
    }
  },
);

/** Adds a realm whose KDC receives what it is asked, and answers nothing. */
async function silentRealm(name: string): Promise<{ asked: Promise<void> }> {
  const silent = createSocket('udp4');
  const asked = new Promise<void>((resolve) => silent.once('message', () => resolve()));
  await new Promise<void>((resolve) => silent.bind(0, '127.0.0.1', resolve));
  // The library then sees that nobody is there, and its threads end.
  onTestFinished(() => new Promise<void>((resolve) => silent.close(() => resolve())));
  const configuration = readFileSync(host.fixture.krb5Config, 'utf8');
  const realm = `  ${name} = {\n    kdc = 127.0.0.1:${silent.address().port}\n  }\n`;
  writeFileSync(host.fixture.krb5Config, configuration.replace('[realms]\n', `[realms]\n${realm}`));
  return { asked };
}

winrmTest(
  'a KDC that has not answered when the time is up is named as the reason, not the host',
  async () => {
    const tickets = new KerberosTickets('mute');
    onTestFinished(() => tickets.close());
    for (const [realm, more] of [
      ['MUTE.TEST', {}],
      ['DUMB.TEST', { tickets }],
    ] as const) {
      const { asked } = await silentRealm(realm);
      const login = kerberos({ user: `${winrmUser}@${realm}` });
      const time = new AbortController();
      const connection = connectionTo(host.fixture, 'http', { login, ...more });
      const failed = errorOf(connection.request(identifyMessage(), { signal: time.signal }));
      await asked;
      time.abort(new DOMException('late', 'TimeoutError'));
      expect(await failed).toMatchObject({
        kind: 'auth_failed',
        message: `The login by Kerberos failed: No KDC has answered in time for realm '${realm}'.`,
        advice: expect.stringContaining('domain controllers'),
      });
    }
  },
);

winrmTest(
  'a KDC that does not answer holds up nobody else, and a caller that gives up is answered at once',
  async () => {
    const { asked } = await silentRealm('SILENT.TEST');
    const controllers = Array.from({ length: 6 }, () => new AbortController());
    const waiting = controllers.map(({ signal }) =>
      connectionTo(host.fixture, 'http', { login: kerberos({ user: `${winrmUser}@SILENT.TEST` }) })
        .request(identifyMessage(), { signal })
        .catch((error: unknown) => error),
    );
    await asked;
    // Names and files still have Node's threads for themselves, and another realm's KDC is asked meanwhile.
    await Promise.all([lookup('localhost'), readFile(host.fixture.krb5Config)]);
    await connectionTo(host.fixture, 'http', { login: kerberos() }).request(identifyMessage());
    for (const each of controllers) each.abort(new Error('not wanted'));
    for (const each of await Promise.all(waiting)) expect(each).toEqual(new Error('not wanted'));
  },
);

winrmTest('an unusable credential is reported, with what to check', async () => {
  const failing = async (login: Login) =>
    errorOf(connectionTo(host.fixture, 'http', { login }).request(identifyMessage()));
  const wrong = await failing(kerberos({ from: { password: 'wrong' } }));
  expect(wrong).toMatchObject({ kind: 'auth_failed', notExecuted: true });
  expect(wrong.message).toMatch(/integrity check failed|[Pp]reauthentication/);
  expect((await failing(kerberos({ user: 'nobody@FIXTURE.TEST' }))).message).toMatch(/not found/);
  const realm = await failing(kerberos({ user: `${winrmUser}@ELSEWHERE.TEST` }));
  expect(realm.advice).toContain('krb5.conf');
  const service = await failing(kerberos({ principal: 'HTTP/other@FIXTURE.TEST' }));
  expect(service.advice).toContain('service principal');
  expect((await host.fixture.stats()).requests).toEqual([]);
});

winrmTest('a reply that was changed, repeated or not sealed is refused', async () => {
  for (const what of ['tampered', 'bad_signature', 'unsealed', 'replayed', 'wrong_length']) {
    const connection = connectionTo(host.fixture, 'http', { login: kerberos() });
    await connection.request(identifyMessage());
    await host.fixture.mishap({ moment: 'after', what });
    expect(await errorOf(connection.request(identifyMessage()))).toMatchObject({ kind: 'protocol' });
  }
});

winrmTest.for(['https', 'strict'] as const)(
  'a login bound to another channel is refused over %s',
  async (listener) => {
    const connection = connectionTo(host.fixture, listener, {
      login: kerberos(),
      securityContext: (login, place) =>
        securityContextFor(login, place, Buffer.from('tls-server-end-point:another')),
    });
    expect(await errorOf(connection.request(identifyMessage()))).toMatchObject({ kind: 'auth_failed' });
  },
);

winrmTest('no tickets are left in a place where other processes would use them', async () => {
  await connectionTo(host.fixture, 'http', { login: kerberos() }).request(identifyMessage());
  expect(() => execFileSync('/usr/bin/klist', ['-s'])).toThrow();
});
