import type { StepOutcome } from '@opsconductor/protocol';
import type { SshConnection } from './connection.ts';

export function sshContext(lease: {
  connection: SshConnection;
  reused: boolean;
}): NonNullable<StepOutcome['ssh']> {
  const { id, establishedAt, cipher } = lease.connection;
  return { sessionId: id, establishedAt: establishedAt.toISOString(), reused: lease.reused, cipher };
}
