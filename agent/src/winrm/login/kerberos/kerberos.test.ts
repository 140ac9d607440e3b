// Kerberos against a KDC and an acceptor of MIT Kerberos.
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, expect } from 'vitest';
import { identifyMessage } from '../../messages/soap.ts';
import {
  connectionTo,
  errorOf,
  hostOfFile,
  runOn,
  winrmMissing,
  winrmPassword,
  winrmTest,
  winrmUser,
} from '../../testing/winrm-setup.ts';
import { type Login, securityContextFor } from '../login.ts';

const host = hostOfFile({ kerberos: true });
const user = `${winrmUser}@FIXTURE.TEST`;

beforeAll(() => {
  if (winrmMissing) return;
  // The library reads it when it is first used.
  process.env.KRB5_CONFIG = host.fixture.krb5Config;
});
// Other files of tests run in this process.
afterAll(() => {
  delete process.env.KRB5_CONFIG;
});

const kerberos = (more: Partial<Extract<Login, { method: 'kerberos' }>> = {}) =>
  ({ method: 'kerberos', user, from: { password: winrmPassword }, ...more }) as const;

winrmTest.for(['http', 'https', 'strict', 'sha384', 'pss'] as const)(
  'a command runs over %s by Kerberos',
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

winrmTest(
  'the realm is found however it is written, and the principal of the host may be given',
  async () => {
    for (const login of [
      kerberos({ user: `${winrmUser}@fixture.test` }),
      kerberos({ user: `fixture.test\\${winrmUser}` }),
      kerberos({ principal: 'HTTP/localhost@FIXTURE.TEST' }),
    ]) {
      await connectionTo(host.fixture, 'http', { login }).request(identifyMessage());
    }
  },
);

winrmTest('a keytab and a cache of tickets log in, too', async () => {
  await connectionTo(host.fixture, 'http', {
    login: kerberos({ from: { keytab: host.fixture.keytab } }),
  }).request(identifyMessage());
  const cache = `FILE:${host.fixture.dir}/tickets`;
  execFileSync('/usr/bin/kinit', ['-k', '-t', host.fixture.keytab, '-c', cache, user]);
  const login = { method: 'kerberos', from: { cache } } as const;
  await connectionTo(host.fixture, 'http', { login }).request(identifyMessage());
});

winrmTest('what is no good is told, with what to look at', async () => {
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

winrmTest('a reply that was changed, repeated or in clear is refused', async () => {
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

winrmTest('no tickets are left where other processes would use them', async () => {
  await connectionTo(host.fixture, 'http', { login: kerberos() }).request(identifyMessage());
  expect(() => execFileSync('/usr/bin/klist', ['-s'])).toThrow();
});
