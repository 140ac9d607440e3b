import type { OpenedCredential, StepTarget } from '../steps/step-type.ts';
import { type ConnectOptions, connectSsh } from './connect.ts';
import type { SshConnection } from './connection.ts';
import { SshError } from './ssh-error.ts';

export type ConnectionTest =
  | {
      ok: true;
      serverVersion: string;
      hostKeyFingerprint: string;
      cipher: string;
      latencyMs: number;
      /** What `check` returned. */
      found?: string;
    }
  | { ok: false; error: SshError };

export interface ConnectionTestOptions extends ConnectOptions {
  /** Tries more on the connection. Rejects with an `SshError` if the test is to fail with it. */
  check?(connection: SshConnection): Promise<string>;
}

/**
 * Opens and authenticates one fresh connection and closes it again; starts nothing on the target but what `check` does.
 * `latencyMs` is the time from dialing to being authenticated. Without a credential the result is `auth_failed`, at the
 * point where the login would begin. Rejects only with the signal's reason.
 */
export async function testConnection(
  target: StepTarget,
  credential: OpenedCredential | undefined,
  { check, ...options }: ConnectionTestOptions,
): Promise<ConnectionTest> {
  try {
    const connection = await connectSsh(target, credential, options);
    const { serverVersion, hostKeyFingerprint, cipher, latencyMs } = connection;
    try {
      const found = await check?.(connection);
      const more = found === undefined ? {} : { found };
      return { ok: true, serverVersion, hostKeyFingerprint, cipher, latencyMs, ...more };
    } finally {
      connection.close();
      await connection.closed;
    }
  } catch (error) {
    if (error instanceof SshError) return { ok: false, error };
    throw error;
  }
}
