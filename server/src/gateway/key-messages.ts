// Handles what agents say about keys: those of their segment, which they make, wrap for each other and open, and their
// own.
import type { AgentMessageOf } from '@opsconductor/protocol';
import type { Log } from '../log.ts';
import { storeRecoveryWrap } from '../segments/segment-keys/recovery-wraps.ts';
import { storeWrap } from '../segments/segment-state.ts';
import { isWrappedFor, markWrapsOpened } from '../store/agents/segment-key-wraps.ts';
import type { Sql } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import type { AgentLink } from './link/agent-link.ts';

export interface KeyMessagesDeps {
  sql: Sql;
  log: Log;
  /** Takes a generation of the segment key that an agent made; returns false if none is wanted. */
  takeKeyGeneration?:
    | ((agentId: number, offer: AgentMessageOf<'segment_key_made'>) => Promise<boolean>)
    | undefined;
  /** Takes keys that an agent has made to replace its own. */
  takeNewKeys?: ((agentId: number, offer: AgentMessageOf<'new_keys'>) => Promise<void>) | undefined;
  /** Called when an agent can be given steps that it couldn't be given before. */
  onReady(): void;
}

export class KeyMessages {
  readonly #deps: KeyMessagesDeps;

  constructor(deps: KeyMessagesDeps) {
    this.#deps = deps;
  }

  async made(link: AgentLink, message: AgentMessageOf<'segment_key_made'>): Promise<void> {
    if (link.isEnding) return;
    const taken = await this.#deps.takeKeyGeneration?.(link.agentId, message);
    const { generation } = message;
    if (taken === true)
      this.#deps.log.info(
        { agent: link.name, generation },
        'an agent made a new generation of the segment key',
      );
  }

  async replaced(link: AgentLink, message: AgentMessageOf<'new_keys'>): Promise<void> {
    if (!link.isEnding) await this.#deps.takeNewKeys?.(link.agentId, message);
  }

  async wrapped(link: AgentLink, message: AgentMessageOf<'wrapped_key'>): Promise<void> {
    if (link.isEnding || (await isWrappedFor(this.#deps.sql, message))) return;
    const { agentId, generation, wrapped, encryptionKey } = message;
    const wrap = { byAgentId: link.agentId, agentId, generation, wrapped, encryptionKey };
    await inTransaction(this.#deps.sql, (tx) => storeWrap(tx, wrap));
  }

  async wrappedForRecovery(link: AgentLink, message: AgentMessageOf<'recovery_wrapped'>): Promise<void> {
    if (link.isEnding) return;
    await inTransaction(this.#deps.sql, (tx) => storeRecoveryWrap(tx, link.agentId, message));
  }

  async opened(link: AgentLink, message: AgentMessageOf<'segment_ready'>): Promise<void> {
    await markWrapsOpened(this.#deps.sql, link.agentId, message.generations);
    this.#deps.onReady();
  }
}
