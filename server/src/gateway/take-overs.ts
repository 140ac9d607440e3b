// Gives commands that go on by themselves, and whose agent is gone, to agents that are connected here: with where in
// their output to read on, which the last stored chunk says.
import { positionOf, type StoredOutput, startOfOutput } from '@opsconductor/protocol';
import { openAtRest } from '../credentials/at-rest/seal-at-rest.ts';
import type { Log } from '../log.ts';
import type { LeaseBuilder } from '../runs/lease-builder.ts';
import { chunkAad, type RunKeys } from '../runs/run-keys.ts';
import type { ProgressNews } from '../runs/run-ledger.ts';
import { RunLedger } from '../runs/run-ledger.ts';
import type { Sql } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { orphanAttempts, type TakenOverStep, takeOverOrphans } from '../store/queue/detached-attempts.ts';
import { readChunkIndex, readChunks } from '../store/runs/run-output.ts';
import type { AgentLink } from './agent-link.ts';
import { chainOf } from './attempt-output.ts';

const defaultRoundMs = 1_000;
const maxAtATime = 32;

export interface TakeOversDeps {
  sql: Sql;
  serverId: string;
  builder: Pick<LeaseBuilder, 'build'>;
  keys: RunKeys;
  log: Log;
  links(): Iterable<AgentLink>;
  linkOf(agentId: number): AgentLink | undefined;
  onNews(news: ProgressNews): void;
  roundMs?: number | undefined;
}

export class TakeOvers {
  readonly #deps: TakeOversDeps;
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> | undefined;

  constructor(deps: TakeOversDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.#round ??= this.#giveOut()
        .catch((error) =>
          this.#deps.log.warn({ err: error }, 'commands whose agent is gone were not given out'),
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
    const { sql, serverId, log, links } = this.#deps;
    if (![...links()].some((link) => link.isReady && link.can('take_over'))) return;
    const taken = await takeOverOrphans(sql, serverId, maxAtATime);
    if (taken.length === 0) return;
    const given: TakenOverStep[] = [];
    const left: TakenOverStep[] = [];
    for (const step of taken) ((await this.#giveTo(step)) ? given : left).push(step);
    // Whoever is there next gets it, up to so many times; nobody in time makes it unknown.
    await orphanAttempts(
      sql,
      left.map(({ id, epoch, leaseToken }) => ({ stepId: id, epoch, leaseToken })),
      { expected: true },
    );
    log.warn(
      { given: given.map(({ id }) => id), left: left.map(({ id }) => id) },
      'commands whose agent is gone were given to others',
    );
    this.#deps.onNews(await noteTakers(sql, given));
  }

  /** False where it did not reach the agent, and never will. */
  async #giveTo(step: TakenOverStep): Promise<boolean> {
    const { builder, log, linkOf } = this.#deps;
    try {
      const lease = (await builder.build([step])).leases.get(step.id);
      const output = lease === undefined ? undefined : await this.#storedOutput(step);
      const link = linkOf(step.agentId);
      if (lease === undefined || output === undefined || link?.sessionNumber !== step.sessionNumber)
        return false;
      const { collector, begunMsAgo } = step;
      link.takeOver(step, { lease, begunMsAgo, collector, output });
      return true;
    } catch (error) {
      log.error(
        { err: error, step: step.id, agent: step.agentName },
        'a command was not given to another agent',
      );
      return false;
    }
  }

  /** Undefined where the stored chunks do not say where to read on. */
  async #storedOutput({ id, epoch, jobRunId, attemptDay }: TakenOverStep): Promise<StoredOutput | undefined> {
    const { sql, keys } = this.#deps;
    const attempt = { stepId: id, epoch, attemptDay };
    const index = await readChunkIndex(sql, attempt);
    const { seq, rawLength: maxRawBytes } = index.at(-1) ?? { seq: 0, rawLength: 0 };
    if (seq !== index.length) return undefined;
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
      rawBytes: index.reduce((sum, { rawLength }) => sum + rawLength, 0),
      digest: chainOf(index),
      position,
    };
  }
}

/** Readers are told who has the steps now. */
function noteTakers(sql: Sql, steps: readonly TakenOverStep[]): Promise<ProgressNews> {
  return inTransaction(sql, async (tx) => {
    const ledger = await RunLedger.open(tx, { stepIds: steps.map(({ id }) => id) });
    for (const { id, jobRunId, agentName } of steps) ledger.noteStep(jobRunId, { id, agentName });
    return ledger.write();
  });
}
