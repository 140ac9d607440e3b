// Each cause that a test of a target distinguishes, produced on the host of the tests. docs/windows.md has the same
// table for people.
import { powershellBootstrap } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import type { ConnectionOptions } from '../connection/connection.ts';
import { withoutPool } from '../connection/pool.ts';
import { loginFailure } from '../login/kerberos/gss-failure.ts';
import { isSoundPowershell } from '../testing/powershell-tree.ts';
import {
  errorOf,
  hostOfFile,
  optionsFor,
  type WinrmFixture,
  type WinrmListener,
  winrmPassword,
  winrmTest,
  winrmUser,
} from '../testing/winrm-setup.ts';
import { WinrmError, type WinrmErrorKind } from '../winrm-error.ts';
import { testHost, versionQuestion } from './test-host.ts';

const usual = { maxShells: 30, maxPollSeconds: 1, noAccess: false, noBasic: false };
const host = hostOfFile({
  emulated: {
    bootstrap: powershellBootstrap,
    cmdRunner: '',
    scripts: { [versionQuestion]: 'echo 5.1.20348.1' },
  },
  settings: usual,
});

const tested = (listener: WinrmListener = 'http', more: Partial<ConnectionOptions> = {}) =>
  testHost(withoutPool(optionsFor(host.fixture, listener, more)), new AbortController().signal);

winrmTest('a usable host reports its version and that of PowerShell, and keeps no shell', async () => {
  expect(await tested()).toEqual({ product: 'OS: 0.0.0 SP: 0.0 Stack: 3.0', powershell: '5.1.20348.1' });
  expect((await host.fixture.stats()).shells).toBe(0);
});

interface Cause {
  is: string;
  kind: WinrmErrorKind;
  /** What the advice must match. */
  advice: RegExp;
  listener?: WinrmListener;
  more?: (fixture: WinrmFixture) => Partial<ConnectionOptions>;
  made?: (fixture: WinrmFixture) => Promise<void>;
}

const login = { method: 'ntlm', user: winrmUser, password: winrmPassword } as const;
const causes: readonly Cause[] = [
  {
    is: 'a name that is not found',
    kind: 'name_not_found',
    advice: /host name/,
    more: () => ({
      addressesOf: async () => {
        throw new WinrmError({
          ...{ kind: 'name_not_found', message: 'The name is not found.', notExecuted: true },
          advice: 'Check the target’s host name.',
        });
      },
    }),
  },
  {
    is: 'a port that nothing listens on',
    kind: 'connection_refused',
    advice: /winrm quickconfig/,
    more: () => ({ port: 1 }),
  },
  {
    is: 'a certificate of an authority that is not trusted',
    kind: 'certificate',
    advice: /certificate authority/,
    listener: 'https',
    more: () => ({ tls: {} }),
  },
  {
    is: 'HTTPS to a port where the host speaks HTTP',
    kind: 'unreachable',
    advice: /5986 is for HTTPS and 5985 for HTTP/,
    more: () => ({ tls: {} }),
  },
  {
    is: 'a way to authenticate that the host does not offer',
    kind: 'auth_unavailable',
    advice: /winrm\/config\/service\/auth/,
    listener: 'https',
    more: () => ({ login: { method: 'basic', user: winrmUser, password: winrmPassword } }),
    made: (fixture) => fixture.reset({ ...usual, noBasic: true }),
  },
  {
    is: 'a wrong password',
    kind: 'auth_failed',
    advice: /user and password/,
    more: () => ({ login: { ...login, password: 'wrong' } }),
  },
  {
    is: 'a user who may not create a shell',
    kind: 'not_authorized',
    advice: /configSDDL.*Remote Management Users is not enough/,
    made: (fixture) => fixture.mishap({ action: 'Create', what: 'fault:denied', times: 2 }),
  },
  {
    is: 'a user whose login is good, and who may not use WinRM',
    kind: 'not_authorized',
    advice: /configSDDL.*LocalAccountTokenFilterPolicy/,
    made: (fixture) => fixture.reset({ ...usual, noAccess: true }),
  },
  {
    is: 'a Basic user who is not one of the host’s own, or may not use WinRM',
    kind: 'auth_failed',
    advice: /its own users, by their name without a domain.*may use WinRM/,
    listener: 'https',
    more: () => ({ login: { method: 'basic', user: `FIXTURE\\${winrmUser}`, password: winrmPassword } }),
  },
  {
    is: 'a host that answers the login with HTTP 403',
    kind: 'not_authorized',
    advice: /configSDDL/,
    made: (fixture) => fixture.mishap({ moment: 'http', what: '403', times: 9 }),
  },
  {
    is: 'no room for another shell',
    kind: 'quota',
    advice: /MaxShellsPerUser/,
    made: (fixture) => fixture.reset({ ...usual, maxShells: 0 }),
  },
  {
    is: 'too many operations of the user',
    kind: 'quota',
    advice: /MaxConcurrentOperationsPerUser/,
    // A new shell is tried once.
    made: (fixture) => fixture.mishap({ action: 'Command', what: 'fault:operations_quota', times: 2 }),
  },
  {
    is: 'a proxy instead of the host',
    kind: 'protocol',
    advice: /proxy/,
    made: (fixture) => fixture.mishap({ moment: 'http', what: 'html', times: 9 }),
  },
  {
    is: 'no PowerShell',
    kind: 'fault',
    advice: /installed on the host/,
    made: (fixture) => fixture.mishap({ action: 'Command', what: 'fault:not_found' }),
  },
  {
    is: 'a PowerShell that does not run what steps run',
    kind: 'no_powershell',
    advice: /PowerShell 5\.1.*constrained language mode/,
    made: (fixture) => fixture.reset({ ...usual, noPowershell: true }),
  },
];

winrmTest.for(causes)(
  '$is is distinguished from the other causes, with advice on what to change',
  async (cause) => {
    const { fixture } = host;
    await cause.made?.(fixture);
    const error = await errorOf(tested(cause.listener, cause.more?.(fixture)));
    expect({ kind: error.kind, advice: error.advice }).toEqual({
      kind: cause.kind,
      advice: expect.stringMatching(cause.advice),
    });
    expect((await fixture.stats()).shells).toBe(0);
  },
);

// In the words of MIT Kerberos.
test.each([
  ['Clock skew too great', /clocks/],
  ["Cannot find KDC for realm 'CORP.EXAMPLE'", /domain controllers/],
  ["Cannot contact any KDC for realm 'CORP.EXAMPLE'", /domain controllers/],
  ['Server HTTP/win-1@CORP.EXAMPLE not found in Kerberos database', /service principal/],
  ['Ticket expired', /kinit/],
  ["Client's credentials have been revoked", /locked/],
])('the Kerberos error “%s” says what to check', (problem, advice) => {
  expect(loginFailure(problem)).toMatchObject({ kind: 'auth_failed', advice: expect.stringMatching(advice) });
});

test('the question is valid PowerShell', async () => {
  expect(await isSoundPowershell(versionQuestion)).toBe(true);
});
