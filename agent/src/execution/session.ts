import type { AgentMessage } from '@opsconductor/protocol';
import type { OutputSender } from '../connection/output-sender.ts';
import type { ServerAbilities } from '../connection/server-abilities.ts';

/** The connection that was resumed: what the executor sends through. */
export interface Session {
  send(message: AgentMessage): void;
  readonly output: OutputSender;
  readonly server: ServerAbilities;
}
