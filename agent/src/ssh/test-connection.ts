import type { OpenedCredential, StepTarget } from '../steps/step-type.ts';
import { type ConnectOptions, connectSsh } from './connection.ts';
import { SshError } from './ssh-error.ts';

export type ConnectionTest =
  | { ok: true; serverVersion: string; hostKeyFingerprint: string; cipher: string; latencyMs: number }
  | { ok: false; error: SshError };

/**
 * Opens and authenticates one fresh connection and closes it again; starts nothing on the target. `latencyMs` is the
 * time from dialing to being authenticated. Without a credential the result is `auth_failed`, at the point where the
 * login would begin. Rejects only with the signal's reason.
 */
export async function testConnection(
  target: StepTarget,
  credential: OpenedCredential | undefined,
  options: ConnectOptions,
): Promise<ConnectionTest> {
  try {
    const connection = await connectSsh(target, credential, options);
    const { serverVersion, hostKeyFingerprint, cipher, latencyMs } = connection;
    connection.close();
    await connection.closed;
    return { ok: true, serverVersion, hostKeyFingerprint, cipher, latencyMs };
  } catch (error) {
    if (error instanceof SshError) return { ok: false, error };
    throw error;
  }
}
