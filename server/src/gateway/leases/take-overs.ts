// Gives commands that go on by themselves, and whose agent is gone, to agents connected here. The new agent is told
// where in the output to continue reading, which the last stored chunk says.
import { positionOf, type StoredOutput, startOfOutput } from '@opsconductor/protocol';
import { AtRestError } from '../../credentials/at-rest/at-rest-error.ts';
import { openAtRest } from '../../credentials/at-rest/seal-at-rest.ts';
import type { Log } from '../../log.ts';
import type { LeaseBuilder } from '../../runs/leases/lease-builder.ts';
import type { AttemptEnd } from '../../runs/progress/attempt-end.ts';
import { givenUpEnd, type HeldLease } from '../../runs/progress/given-up-end.ts';
import { type ProgressNews, RunLedger } from '../../runs/progress/run-ledger.ts';
import { chunkAad, type RunKeys } from '../../runs/run-keys.ts';
import { whyUnreadable } from '../../runs/why-unreadable.ts';
import type { Sql } from '../../store/database/connection.ts';
import { isRefused } from '../../store/database/refused-statement.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import {
  detachedOfServer,
  orphanAttempts,
  orphanEach,
  orphansToGive,
  type TakenOverStep,
  takeOverOrphans,
} from '../../store/queue/attempts/detached-attempts.ts';
import { chunkIndex, readChunks } from '../../store/runs/run-output.ts';
import type { AgentLink } from '../link/agent-link.ts';
import { DigestChain } from './attempt-output.ts';
import type { Settler } from './settler.ts';

const defaultRoundMs = 1_000;
const maxAtATime = 32;
/** How many are looked at one by one while the database refuses one of them. */
const maxLookedAt = 256;
/**
 * How long to look for the effect of a request to the database that was never answered: it may still be carried out.
 */
const lookForLostMs = 60_000;
const noTaker = 'No agent of the segment took over its command.';
const notOpened = 'The server does not hold the master key that its run or job is under.';

export interface TakeOversDeps {
  sql: Sql;
  serverId: string;
  builder: Pick<LeaseBuilder, 'build'>;
  settler: Pick<Settler, 'settle'>;
  keys: RunKeys;
  log: Log;
  links(): Iterable<AgentLink>;
  linkOf(agentId: number): AgentLink | undefined;
  onNews(news: ProgressNews): void;
  roundMs?: number | undefined;
}

/**
 * What became of a command:
 * - `agent`: its new agent has it.
 * - `left`: another agent may have it; why this one couldn't.
 * - `lost`: no agent can take it over, and why.
 * - `resume`: the new agent's connection was ended, and its resume will show that it doesn't have it.
 */
type GivenTo = 'agent' | 'resume' | { left: string } | { lost: string };

interface Given {
  given: TakenOverStep[];
  left: { step: TakenOverStep; why: string }[];
  lost: { step: TakenOverStep; why: string }[];
}

export class TakeOvers {
  readonly #deps: TakeOversDeps;
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> | undefined;
  /** Until then, sessions may have been given commands that no agent was told of. */
  #lookUntilMs = Number.NEGATIVE_INFINITY;

  constructor(deps: TakeOversDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#round ??= this.#giveOut()
        .catch((error) =>
          this.#deps.log.warn(
            { err: error },
            'commands of lost agents could not be given to other agents; this is retried every second',
          ),
        )
        .finally(() => {
          this.#round = undefined;
        });
    }, this.#deps.roundMs ?? defaultRoundMs);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await this.#round;
  }

  async #giveOut(): Promise<void> {
    const { sql, serverId, links } = this.#deps;
    if (![...links()].some((link) => link.isReady && link.can('take_over'))) return;
    if (performance.now() < this.#lookUntilMs) await this.#takeBackUntold();
    try {
      const taken = await takeOverOrphans(sql, serverId, maxAtATime).catch((error) => this.#takeApart(error));
      if (taken.length > 0) await this.#handOver(taken);
    } catch (error) {
      this.#lookUntilMs = performance.now() + lookForLostMs;
      throw error;
    }
  }

  /** If the database refuses to give out some command, only that one has to wait. */
  async #takeApart(error: unknown): Promise<TakenOverStep[]> {
    if (!isRefused(error)) throw error;
    const { sql, serverId, log } = this.#deps;
    const taken: TakenOverStep[] = [];
    const refused: number[] = [];
    for (const step of await orphansToGive(sql, serverId, maxLookedAt)) {
      if (taken.length >= maxAtATime) break;
      try {
        taken.push(...(await takeOverOrphans(sql, serverId, 1, [step])));
      } catch (problem) {
        if (!isRefused(problem)) throw problem;
        refused.push(step);
      }
    }
    log.error(
      { err: error, steps: refused },
      'the database refuses to give these commands of lost agents to other agents; this is retried every second',
    );
    return taken;
  }

  /** Sends commands to the agents that have them now, and sees to those that could not be sent. */
  async #handOver(taken: readonly TakenOverStep[]): Promise<void> {
    const { sql, log, settler, onNews } = this.#deps;
    const { given, left, lost } = await this.#giveEach(taken);
    // The next able agent gets them, up to a number of tries. If there is none in time, they become unknown.
    const waiting = await orphanAttempts(
      sql,
      left.map(({ step }) => leaseOf(step)),
      { expected: true },
    );
    lost.push(...left.filter(({ step }) => !waiting.has(step.id)));
    log.warn(
      {
        given: given.map(({ id }) => id),
        left: [...waiting],
        lost: lost.map(({ step, why }) => ({ step: step.id, why })),
      },
      'commands of lost agents were given to other agents (given), wait for one (left), or became unknown (lost)',
    );
    await Promise.all(lost.map(({ step, why }) => settler.settle(lostEnd(step, why))));
    onNews(await noteTakers(sql, given));
  }

  async #giveEach(taken: readonly TakenOverStep[]): Promise<Given> {
    const all: Given = { given: [], left: [], lost: [] };
    // The commands occupy the agents' slots from now on, although they are handed over one after the other.
    const takers = taken.map(({ agentId }) => this.#deps.linkOf(agentId));
    for (const taker of takers) if (taker !== undefined) taker.expected += 1;
    try {
      for (const step of taken) {
        const to = await this.#giveTo(step);
        const taker = takers.shift();
        if (taker !== undefined) taker.expected -= 1;
        if (to === 'agent') all.given.push(step);
        else if (to === 'resume') continue;
        else if ('left' in to) all.left.push({ step, why: to.left });
        else all.lost.push({ step, why: to.lost });
      }
    } finally {
      for (const taker of takers) if (taker !== undefined) taker.expected -= 1;
    }
    return all;
  }

  /**
   * Takes back commands that were given to sessions whose agents never heard of them, because the database was lost
   * before they were told or before the command was given back. They wait for an agent again.
   */
  async #takeBackUntold(): Promise<void> {
    const { sql, serverId, linkOf, log } = this.#deps;
    const untold = (await detachedOfServer(sql, serverId)).filter((attempt) => {
      const link = linkOf(attempt.agentId);
      return link?.isReady === true && link.sessionNumber === attempt.sessionNumber && !link.holds(attempt);
    });
    const { waiting: back } = await orphanEach(sql, untold, { expected: true });
    if (back.size > 0)
      log.warn(
        { steps: [...back] },
        'took back commands that were given to agents without their knowledge; they wait for an agent again',
      );
  }

  async #giveTo(step: TakenOverStep): Promise<GivenTo> {
    const { builder, log, linkOf } = this.#deps;
    const link = linkOf(step.agentId);
    if (link?.sessionNumber !== step.sessionNumber || link.isEnding) return { left: noTaker };
    try {
      const { leases, unbuildable, elsewhere } = await builder.build([step]);
      if (elsewhere.length > 0) return { left: notOpened };
      const lease = leases.get(step.id);
      if (lease === undefined)
        return { lost: unbuildable[0]?.message ?? 'Its target cannot be reached any more.' };
      const output = await this.#storedOutput(step).catch((error: unknown) =>
        isUnderAnotherKey(error) ? { left: notOpened } : { lost: whyUnreadable('Its output', error) },
      );
      if (output !== undefined && !('position' in output)) return output;
      if (output === undefined)
        return { lost: 'Where in its output another agent had to read on is not known.' };
      if (linkOf(step.agentId) !== link || link.isEnding) return { left: noTaker };
      const { collector, begunMsAgo } = step;
      link.takeOver(step, { lease, begunMsAgo, collector, output });
      return 'agent';
    } catch (error) {
      log.error(
        { err: error, step: step.id, agent: step.agentName },
        'a command could not be given to another agent; that agent is disconnected, so that it reports what it holds',
      );
      // The cause may be the database, which then couldn't be told either; the agent's next resume will tell it.
      link.terminate();
      return 'resume';
    }
  }

  /** Returns `undefined` if the stored chunks don't tell where to continue reading. */
  async #storedOutput({ id, epoch, jobRunId, attemptDay }: TakenOverStep): Promise<StoredOutput | undefined> {
    const { sql, keys } = this.#deps;
    const attempt = { stepId: id, epoch, attemptDay };
    const chain = new DigestChain();
    let rawBytes = 0;
    let seq = 0;
    let maxRawBytes = 0;
    for await (const page of chunkIndex(sql, attempt)) {
      for (const chunk of page) {
        if (chunk.seq !== seq + 1) return undefined;
        seq = chunk.seq;
        maxRawBytes = chunk.rawLength;
        rawBytes += chunk.rawLength;
      }
      chain.add(page);
    }
    const [last] = seq === 0 ? [] : await readChunks(sql, attempt, { after: seq - 1, maxRawBytes });
    const position =
      last === undefined
        ? startOfOutput
        : positionOf(
            openAtRest(await keys.keyOf(sql, jobRunId), last.sealed, chunkAad({ stepId: id, epoch, seq })),
          );
    if (position === undefined) return undefined;
    return {
      seq,
      rawBytes,
      digest: chain.digest,
      position,
    };
  }
}

/** Tells readers which agents have the steps now. */
function noteTakers(sql: Sql, steps: readonly TakenOverStep[]): Promise<ProgressNews> {
  return inTransaction(sql, async (tx) => {
    const ledger = await RunLedger.open(tx, { stepIds: steps.map(({ id }) => id) });
    for (const { id, jobRunId, agentName } of steps) ledger.noteStep(jobRunId, { id, agentName });
    return ledger.write();
  });
}

function isUnderAnotherKey(error: unknown): boolean {
  return error instanceof AtRestError && error.reason === 'wrong_master_key';
}

function lostEnd(step: TakenOverStep, why: string): AttemptEnd {
  return givenUpEnd(leaseOf(step), {
    status: 'unknown',
    reason: 'agent_restarted',
    message: `The step’s agent was gone. ${why} What happened on the target is not known.`,
    advice: 'Look on the target before you run it again: the command may still run there.',
  });
}

function leaseOf({ id, epoch, leaseToken, agentId, sessionNumber }: TakenOverStep): HeldLease {
  return { stepId: id, epoch, leaseToken, agentId, sessionNumber };
}
