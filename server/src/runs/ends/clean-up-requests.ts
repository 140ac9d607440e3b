// After a cut: which attempts an agent is asked to clean up after, and what it has found.
import { randomUUID } from 'node:crypto';
import { type AgentMessageOf, limits, type ServerMessageOf } from '@opsconductor/protocol';
import type { Sql } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import {
  type CleanUpAnswer,
  freeLocksOfCleaned,
  noteCleanUps,
  takeDueCleanUps,
} from '../../store/queue/clean-ups.ts';
import { cleanText } from '../clean-text.ts';
import type { LeaseBuilder } from '../leases/lease-builder.ts';

export class CleanUpRequests {
  readonly #sql: Sql;
  readonly #builder: Pick<LeaseBuilder, 'waysBack'>;

  constructor(deps: { sql: Sql; builder: Pick<LeaseBuilder, 'waysBack'> }) {
    this.#sql = deps.sql;
    this.#builder = deps.builder;
  }

  /**
   * Takes clean-ups that are due in the agent's segment. Returns `undefined` if none are due. The message has no
   * attempts if none of those taken can be cleaned up any more, because their targets were deleted; there may be more
   * due then.
   */
  async requestFor(agent: {
    segmentId: number;
    agentId: number;
  }): Promise<ServerMessageOf<'clean_up'> | undefined> {
    const due = await takeDueCleanUps(this.#sql, agent, limits.maxCleanUpsPerMessage);
    if (due.length === 0) return undefined;
    const ways = await this.#builder.waysBack(due.map(({ stepId }) => stepId));
    const attempts = due.flatMap(({ stepId, epoch, uncollected }) => {
      const way = ways.get(stepId);
      if (way === undefined) return [];
      return [{ step: stepId, epoch, ...way, ...(uncollected ? { uncollected } : {}) }];
    });
    return { type: 'clean_up', requestId: randomUUID(), attempts };
  }

  /** Records what the agent found. Answers about attempts that it wasn't asked about are ignored. */
  async answered(agentId: number, { results }: AgentMessageOf<'cleaned_up'>): Promise<void> {
    const answers: CleanUpAnswer[] = results.map(({ step, epoch, found, survivors }) => ({
      step,
      epoch,
      found,
      survivors: survivors?.map(({ pid, command }) => ({ pid, command: cleanText(command) })) ?? null,
    }));
    await inTransaction(this.#sql, async (tx) => {
      const noted = await noteCleanUps(tx, agentId, answers);
      const gone = noted.filter(({ found }) => found === 'nothing' || found === 'ended');
      await freeLocksOfCleaned(
        tx,
        gone.map(({ stepId }) => stepId),
      );
    });
  }
}
