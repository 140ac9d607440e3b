// After a cut: which attempts an agent is asked to clean up after, and what it has found.
import { randomUUID } from 'node:crypto';
import { type AgentMessageOf, limits, type ServerMessageOf } from '@opsconductor/protocol';
import type { Log } from '../../log.ts';
import type { Sql } from '../../store/database/connection.ts';
import { isRefused, withoutRefused } from '../../store/database/refused-statement.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import {
  type CleanUpAnswer,
  type DueCleanUp,
  freeLocksOfCleaned,
  noteCleanUps,
  stepsOfDueCleanUps,
  takeDueCleanUps,
} from '../../store/queue/attempts/clean-ups.ts';
import { cleanText } from '../clean-text.ts';
import type { LeaseBuilder } from '../leases/lease-builder.ts';

/** How many are looked at one by one while the database refuses one of them. */
const maxLookedAt = 256;

export class CleanUpRequests {
  readonly #sql: Sql;
  readonly #builder: Pick<LeaseBuilder, 'waysBack'>;
  readonly #log: Pick<Log, 'error'> | undefined;

  constructor(deps: { sql: Sql; builder: Pick<LeaseBuilder, 'waysBack'>; log?: Pick<Log, 'error'> }) {
    this.#sql = deps.sql;
    this.#builder = deps.builder;
    this.#log = deps.log;
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
    const due = await takeDueCleanUps(this.#sql, agent, limits.maxCleanUpsPerMessage).catch((error) =>
      this.#takeApart(agent, error),
    );
    if (due.length === 0) return undefined;
    const ways = await this.#builder.waysBack(due.map(({ stepId }) => stepId));
    const attempts = due.flatMap(({ stepId, epoch, uncollected }) => {
      const way = ways.get(stepId);
      if (way === undefined) return [];
      return [{ step: stepId, epoch, ...way, ...(uncollected ? { uncollected } : {}) }];
    });
    return { type: 'clean_up', requestId: randomUUID(), attempts };
  }

  /** The database refuses to write the row of some clean-up: only that one has to wait. */
  async #takeApart(agent: { segmentId: number; agentId: number }, error: unknown): Promise<DueCleanUp[]> {
    if (!isRefused(error)) throw error;
    const taken: DueCleanUp[] = [];
    const refused: number[] = [];
    for (const step of await stepsOfDueCleanUps(this.#sql, agent, maxLookedAt)) {
      if (taken.length >= limits.maxCleanUpsPerMessage) break;
      try {
        taken.push(...(await takeDueCleanUps(this.#sql, agent, 1, step)));
      } catch (problem) {
        if (!isRefused(problem)) throw problem;
        refused.push(step);
      }
    }
    this.#log?.error(
      { err: error, steps: refused },
      'the database refuses to note that an agent is asked to clean up after these steps; this is retried every five seconds',
    );
    return taken;
  }

  /** Records what the agent found. Answers about attempts that it wasn't asked about are ignored. */
  async answered(agentId: number, { results }: AgentMessageOf<'cleaned_up'>): Promise<void> {
    const answers: CleanUpAnswer[] = results.map(({ step, epoch, found, survivors }) => ({
      step,
      epoch,
      found,
      survivors: survivors?.map(({ pid, command }) => ({ pid, command: cleanText(command) })) ?? null,
    }));
    const refused = await withoutRefused(answers, (some) => this.#note(agentId, some));
    if (refused.length > 0)
      this.#log?.error(
        { err: refused[0]?.error, steps: refused.map(({ item }) => item.step) },
        'the database refuses to note what an agent has found on cleaning up after these steps; it is asked again',
      );
  }

  async #note(agentId: number, answers: readonly CleanUpAnswer[]): Promise<void> {
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
