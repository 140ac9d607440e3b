// For tests: a WinRM host for a file, and connections to it.
import { afterAll, afterEach, beforeAll, onTestFinished, test, vi } from 'vitest';
// biome-ignore-start lint/style/noRestrictedImports: only tests use the WinRM host that test/ provides
import { ensureWinrmFixture } from '../../../../test/support/packages.ts';
import {
  startWinrm,
  type WinrmFixture,
  type WinrmFixtureOptions,
  type WinrmListener,
  winrmPassword,
  winrmUser,
} from '../../../../test/support/winrm.ts';
import { type CommandEnd, type RunOptions, runCommand } from '../commands/run-command.ts';
// biome-ignore-end lint/style/noRestrictedImports: see above
import { type ConnectionOptions, WinrmConnection } from '../connection/connection.ts';
import { withoutPool } from '../connection/pool.ts';
import { WinrmError } from '../winrm-error.ts';

export { type WinrmFixture, type WinrmListener, winrmPassword, winrmUser };

/** Whether there can be no WinRM host here. */
export const winrmMissing = 'missing' in (await ensureWinrmFixture());
/** A test that needs a WinRM host. */
export const winrmTest = test.skipIf(winrmMissing);

/** One host for all tests of a file; between tests its faults are cleared and its counters reset. */
export function hostOfFile(options: WinrmFixtureOptions = {}): { readonly fixture: WinrmFixture } {
  const held: { fixture?: WinrmFixture } = {};
  beforeAll(async () => {
    if (!winrmMissing) held.fixture = await startWinrm(options);
  });
  afterEach(() => held.fixture?.reset(options.settings));
  afterAll(() => held.fixture?.stop());
  return {
    get fixture() {
      if (held.fixture === undefined) throw new Error('The WinRM host was not started');
      return held.fixture;
    },
  };
}

const certificates = { https: 'sha256', strict: 'sha256', sha384: 'sha384', pss: 'pss' } as const;

/**
 * A host and a KDC for one test, with clocks that are ahead. Kerberos in this process uses that realm until the test
 * ends.
 */
export async function hostWithClocks(
  ahead: NonNullable<WinrmFixtureOptions['ahead']>,
): Promise<WinrmFixture> {
  const fixture = await startWinrm({ kerberos: true, ahead });
  vi.stubEnv('KRB5_CONFIG', fixture.krb5Config);
  onTestFinished(() => {
    vi.unstubAllEnvs();
    return fixture.stop();
  });
  return fixture;
}

/** Options for connecting to one of the host's listeners; NTLM by default. */
export function optionsFor(
  fixture: WinrmFixture,
  listener: WinrmListener,
  more: Partial<ConnectionOptions> = {},
): ConnectionOptions {
  const certificate =
    listener in certificates ? certificates[listener as keyof typeof certificates] : undefined;
  return {
    host: fixture.host,
    port: fixture.port(listener),
    login: { method: 'ntlm', user: winrmUser, password: winrmPassword },
    ...(certificate === undefined ? {} : { tls: { ca: [fixture.certificate(certificate).certificate] } }),
    addressesOf: async (host) => [host],
    ...more,
  };
}

/** A connection that is closed with the test. */
export function connectionTo(
  fixture: WinrmFixture,
  listener: WinrmListener,
  more?: Partial<ConnectionOptions>,
): WinrmConnection {
  const connection = new WinrmConnection(optionsFor(fixture, listener, more));
  onTestFinished(() => connection.close());
  return connection;
}

export interface Ran {
  end: CommandEnd;
  stdout: Buffer;
  stderr: Buffer;
}

/** Runs a line of /bin/sh on the host. */
export async function runOn(
  fixture: WinrmFixture,
  command: string,
  more: Partial<RunOptions> & { listener?: WinrmListener; connection?: Partial<ConnectionOptions> } = {},
): Promise<Ran> {
  const output = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  const { listener = 'http', connection } = more;
  const end = await runCommand({
    connections: withoutPool(optionsFor(fixture, listener, connection)),
    settings: { environment: {}, workingDirectory: undefined, idleTimeoutS: 600 },
    line: { command, arguments: [] },
    input: Buffer.alloc(0),
    onOutput: (stream, bytes) => {
      output[stream].push(bytes);
    },
    signal: new AbortController().signal,
    killGraceMs: () => 5_000,
    limits: { retryMs: 10, busyMs: 10 },
    ...more,
  });
  return { end, stdout: Buffer.concat(output.stdout), stderr: Buffer.concat(output.stderr) };
}

/** Returns what a promise rejects with, which must be a WinrmError. */
export async function errorOf(attempt: Promise<unknown>): Promise<WinrmError> {
  const error = await attempt.then(
    () => new Error('it went well'),
    (reason: unknown) => reason,
  );
  if (error instanceof WinrmError) return error;
  throw error;
}
