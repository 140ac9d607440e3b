// For tests: gives each test a real sshd of its own, and what is needed to log in to it.
import { onTestFailed, onTestFinished, test } from 'vitest';
// biome-ignore-start lint/style/noRestrictedImports: only tests use the real sshd that test/ provides
import { ensureSshd } from '../../../test/support/packages.ts';
import {
  accountsMissing,
  ownUser,
  type SshdFixture,
  type SshdOptions,
  startSshd,
} from '../../../test/support/sshd.ts';
// biome-ignore-end lint/style/noRestrictedImports: see above
import type { OpenedCredential, StepTarget } from '../steps/step-type.ts';
import { type ConnectOptions, connectSsh } from './connect.ts';
import type { SshConnection } from './connection.ts';
import { SshPool, type SshPoolOptions } from './pool/pool.ts';
import { SshError } from './ssh-error.ts';

const missing = 'missing' in (await ensureSshd());
/** Tests that need a real sshd, and tests that also need user accounts of their own (root and mount namespaces). */
export const sshTest = test.skipIf(missing);
export const accountTest = test.skipIf(missing || accountsMissing() !== undefined);

/** Any SSH server that accepts a key. */
export type ServerFixture = Pick<
  SshdFixture,
  'host' | 'port' | 'user' | 'privateKey' | 'hostKeyLine' | 'log' | 'stop'
>;

export interface SshSetup<Server extends ServerFixture = SshdFixture> {
  sshd: Server;
  target: StepTarget;
  credential: OpenedCredential;
  request: { target: StepTarget; credential: OpenedCredential; checkAddresses(): void };
  /** Connects; the connection is closed when the test ends. */
  connect(options?: Partial<ConnectOptions>, target?: Partial<StepTarget>): Promise<SshConnection>;
  /** Resolves with the error that connecting fails with. */
  refusal(options?: Partial<ConnectOptions>, target?: Partial<StepTarget>): Promise<SshError>;
  pool(options?: SshPoolOptions): SshPool;
}

/**
 * Logs in as a plain user if accounts can be made, so that the startup files of the user who runs the tests don't
 * matter.
 */
export async function setupSshd(options: SshdOptions = {}): Promise<SshSetup> {
  return setupServer(await startSshd({ ...ownUser({ name: 'opsdeploy' }), ...options }));
}

export function setupServer<Server extends ServerFixture>(sshd: Server): SshSetup<Server> {
  onTestFinished(() => sshd.stop());
  onTestFailed(() => {
    process.stderr.write(sshd.log());
  });
  const target: StepTarget = {
    id: 1,
    name: 'web-1',
    host: sshd.host,
    port: sshd.port,
    hostKeys: [sshd.hostKeyLine],
  };
  const credential: OpenedCredential = {
    kind: 'ssh_private_key',
    id: '7',
    version: 1,
    user: sshd.user,
    privateKey: sshd.privateKey,
  };
  const setup: SshSetup<Server> = {
    sshd,
    target,
    credential,
    request: { target, credential, checkAddresses: () => {} },
    connect: async (more, other) => {
      const connection = await connectSsh({ ...target, ...other }, setup.credential, {
        checkAddresses: () => {},
        ...more,
      });
      onTestFinished(() => connection.close());
      return connection;
    },
    refusal: (more, other) => refusalOf(setup.connect(more, other)),
    pool: (more) => {
      const pool = new SshPool(more);
      onTestFinished(() => pool.close());
      return pool;
    },
  };
  return setup;
}

export async function refusalOf(attempt: Promise<unknown>): Promise<SshError> {
  const error = await attempt.then(
    () => new Error('it went well'),
    (reason: unknown) => reason,
  );
  if (error instanceof SshError) return error;
  throw error;
}

/** For sshd_config: each shell prints something without a line end first, as a startup file may that sets a title. */
export const printsTitle = 'ForceCommand printf title; eval "$SSH_ORIGINAL_COMMAND"';
