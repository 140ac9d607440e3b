import type { StepOutcome } from '@opsconductor/protocol';
import type { SshConnection } from './connection.ts';

/** Returns what an outcome says about the connection that was used. */
export function sshContext(pooled: {
  connection: SshConnection;
  reused: boolean;
}): NonNullable<StepOutcome['ssh']> {
  const { id, establishedAt, cipher } = pooled.connection;
  return { sessionId: id, establishedAt: establishedAt.toISOString(), reused: pooled.reused, cipher };
}
