import type { AgentMessage } from '@opsconductor/protocol';
import type { OutputSender } from '../connection/output-sender.ts';
import type { ServerAbilities } from '../connection/server-abilities.ts';

/** A resumed connection, through which the executor sends. */
export interface Session {
  send(message: AgentMessage): void;
  readonly output: OutputSender;
  readonly server: ServerAbilities;
}
