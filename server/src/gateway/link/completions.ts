// Handles what one agent says about the end of an attempt: compares its output with what is stored, takes what it hands
// on and has transferred, and settles it. The answer may carry the next step.
import {
  type AgentMessageOf,
  type Lease,
  limits,
  type OutputState,
  type ServerMessageOf,
  type StepOutcome,
} from '@opsconductor/protocol';
import type { Log } from '../../log.ts';
import { isWritable } from '../../runs/leases/is-writable.ts';
import type { AttemptEnd, SettleResult } from '../../runs/progress/attempt-end.ts';
import type { TransferTaker } from '../../runs/transfers/transfer-taker.ts';
import type { HandedOnValues, TakenOutputs } from '../../runs/values/handed-on.ts';
import type { Sql } from '../../store/database/connection.ts';
import { isRefused } from '../../store/database/refused-statement.ts';
import type { ClaimedStep } from '../../store/queue/claims/claims.ts';
import type { AttemptOutput } from '../leases/attempt-output.ts';
import type { Settler } from '../leases/settler.ts';
import { attemptOf, type DeliveredAttempts, keyOf } from './delivered-attempts.ts';

/** What is leased to an agent that ended a step. */
export interface NextLeases {
  /** The step whose turn it is. */
  next?: Lease | undefined;
  /** Steps ahead of their turn, in the order in which they follow. */
  ahead: { claimed: ClaimedStep; lease: Lease }[];
}

export interface CompletionDeps {
  sql: Sql;
  agent: { agentId: number; sessionNumber: number };
  attempts: DeliveredAttempts;
  settler: Settler;
  handedOn?: Pick<HandedOnValues, 'take'> | undefined;
  transfers?: Pick<TransferTaker, 'take'> | undefined;
  /** Returns the time since the attempt began, in ms, if the database doesn't know it. */
  startedMsAgo(attempt: { step: number; epoch: number }): number | undefined;
  /** Whether the agent can still be answered. */
  isOpen(): boolean;
  /** Whether the agent may be given a next step. */
  takesMore(): boolean;
  /** How many steps the agent may be leased ahead of their turn after this one, beyond the next one. */
  stepsAhead(stepId: number): number;
  /** Called after the attempt was settled, with whether its slot is free now. Returns what is leased to the agent. */
  settled(result: SettleResult, isSlotFree: boolean): Promise<NextLeases>;
  /** Delivers leases after the answer was sent. */
  lease(leases: NextLeases['ahead']): void;
  send(message: ServerMessageOf<'completed'>): void;
  /** Ends the connection, so that the agent connects again. */
  reconnect(reason: string): void;
  log: Pick<Log, 'error'>;
}

/** How long to wait after the database has refused an end, in ms: each time twice as long. */
const refusedMs = { first: 1_000, most: 30_000 };

export class Completions {
  readonly #deps: CompletionDeps;
  /** The newest completion of each attempt that is being handled. */
  readonly #taking = new Map<string, Promise<void>>();

  constructor(deps: CompletionDeps) {
    this.#deps = deps;
  }

  /**
   * Those of one attempt are taken one after the other: to compare its output may take a while and be in vain, and an
   * agent could otherwise have it compared thousands of times at once.
   */
  async take(message: AgentMessageOf<'complete'>): Promise<void> {
    const key = keyOf({ stepId: message.step, epoch: message.epoch });
    const before = this.#taking.get(key);
    const taken = before === undefined ? this.#take(message) : before.then(() => this.#take(message));
    const ended = taken.catch(() => undefined);
    this.#taking.set(key, ended);
    try {
      await taken;
    } finally {
      if (this.#taking.get(key) === ended) this.#taking.delete(key);
    }
  }

  async #take(message: AgentMessageOf<'complete'>): Promise<void> {
    if (!this.#deps.isOpen()) return;
    const { agent, attempts, settled, send } = this.#deps;
    const { step, epoch, requestId } = message;
    const attempt = attempts.get(message);
    const answer = { type: 'completed', requestId, step, epoch } as const;
    // Without an answer the agent keeps it, and reports it again on its next connection.
    if (attempt?.isUnwritable === true) return this.#reconnectOnceWritable(attempt);
    let output: { state: OutputState; digest: string | null } = { state: 'complete', digest: null };
    if (attempt !== undefined) {
      await attempt.idle();
      const verdict = await attempt.verify(this.#deps.sql, message.output);
      if ('resendFrom' in verdict) {
        send({ ...answer, result: 'resend', fromSeq: verdict.resendFrom });
        return;
      }
      output = verdict;
    } else if (message.output.lastSeq > 0) {
      // Output of attempts that the agent doesn't hold was not taken, so it can't be called complete.
      output = { state: 'gapped', digest: null };
    }
    const taken = await this.#takeHandedOn(message);
    const moved = await this.#takeTransfers(message);
    const outcome = tellingOf(output.state, attempt?.notKept, taken.outcome ?? message.outcome);
    if (attempt !== undefined) {
      // On the next connection, its agent says it again.
      if (!(await attempts.turnOf(attempt))) return;
      attempts.settling(attempt);
    }
    const wantsNext = message.wantsNext && this.#deps.takesMore();
    // Its agent is already at work on what follows it.
    const mayWait = isSuccess(outcome) && attempt !== undefined && attempts.isFollowed(attempt);
    const end: AttemptEnd = {
      stepId: step,
      epoch,
      leaseToken: message.leaseToken,
      source: {
        kind: 'agent',
        ...agent,
        requestId,
        wantsNext,
        ahead: wantsNext && isSuccess(outcome) ? this.#aheadOf(step, outcome) : 0,
      },
      startedMsAgo: attempt?.leaseToken === message.leaseToken ? this.#deps.startedMsAgo(message) : undefined,
      outcome,
      output: { ...output, gaps: message.output.gaps },
      handsOn: taken.handsOn,
      transfers: moved,
    };
    const settlement = await this.#settle(end, mayWait);
    // The connection is gone. On the next one, its agent says it again.
    if (settlement === undefined || settlement.result === 'early') return;
    const { result } = settlement;
    // If there is a next step, this attempt keeps its place until that is added: the slot isn't free.
    if (settlement.next === undefined) attempts.forget({ stepId: step, epoch });
    const isSlotFree = attempt === undefined || !attempts.holdsTargetRun(attempt.targetRunId);
    const { next, ahead } = await settled(settlement, isSlotFree);
    // The agent has to list the next attempt once it is delivered.
    if (next !== undefined && settlement.next !== undefined) attempts.add([attemptOf(settlement.next)]);
    attempts.forget({ stepId: step, epoch });
    send(next === undefined ? { ...answer, result } : { ...answer, result, next });
    if (ahead.length > 0) this.#deps.lease(ahead);
  }

  /**
   * Settles the end. If the database refuses that, as it does for a row that can't be written, it is tried again: an end
   * of the connection would cut off all else that the agent does, and the next connection would end in the same way.
   */
  async #settle(end: AttemptEnd, mayWait: boolean): Promise<SettleResult | undefined> {
    const { settler, isOpen, log } = this.#deps;
    for (let waitMs = refusedMs.first; ; waitMs = Math.min(2 * waitMs, refusedMs.most)) {
      try {
        return await settler.settle(end, { mayWait, isAwaited: isOpen });
      } catch (error) {
        // Without an answer of the database, a step may have been leased to the agent.
        if (!isRefused(error)) throw error;
        log.error(
          { err: error, step: end.stepId },
          'the database refuses the end of a step; this is tried again, and its agent keeps the result until then',
        );
      }
      await new Promise<void>((resolve) => setTimeout(resolve, waitMs).unref());
      if (!isOpen()) return undefined;
    }
  }

  /** Its session does not hold the step, and takes it up only in a resume. */
  async #reconnectOnceWritable({ stepId, epoch }: AttemptOutput): Promise<void> {
    const { sql, agent, isOpen, reconnect } = this.#deps;
    for (let waitMs = refusedMs.first; isOpen(); waitMs = Math.min(2 * waitMs, refusedMs.most)) {
      await new Promise<void>((resolve) => setTimeout(resolve, waitMs).unref());
      if (isOpen() && (await isWritable(sql, { stepId, epoch, ...agent })))
        reconnect('the row of a step can be written again; connect again');
    }
  }

  #aheadOf(stepId: number, outcome: StepOutcome): number {
    return Math.min(mostAhead(outcome), this.#deps.stepsAhead(stepId), this.#deps.attempts.roomAhead);
  }

  async #takeHandedOn({
    step,
    epoch,
    handsOn,
    outcome,
  }: AgentMessageOf<'complete'>): Promise<{ handsOn?: TakenOutputs | undefined; outcome?: StepOutcome }> {
    const { handedOn } = this.#deps;
    if (handsOn === undefined || handedOn === undefined) return {};
    const taken = await handedOn.take({ stepId: step, epoch }, handsOn);
    // A step that failed anyway needn't hand anything on.
    return 'outcome' in taken && outcome.status !== 'succeeded' ? {} : taken;
  }

  async #takeTransfers({ step, epoch, transfers }: AgentMessageOf<'complete'>) {
    return transfers === undefined
      ? undefined
      : await this.#deps.transfers?.take({ stepId: step, epoch }, transfers);
  }
}

/** Time that goes by between two steps at least, in ms. */
const betweenMs = 50;

/**
 * How many steps may be leased ahead, beyond the next one, if those take as long as this one: no more than begin before
 * the agent would hand them back. The server decides on them only once they are through.
 */
function mostAhead({ executionTimeMs }: StepOutcome): number {
  if (executionTimeMs === undefined || executionTimeMs > limits.shortStepMs) return 0;
  return Math.floor(limits.stepsAheadMs / (executionTimeMs + betweenMs)) - 2;
}

function isSuccess({ status }: StepOutcome): boolean {
  return status === 'succeeded' || status === 'skipped';
}

/**
 * Adds to the advice why output is missing, so that nobody has to look for the reason on the target or in a server's
 * log.
 */
function tellingOf(state: OutputState, notKept: string | undefined, outcome: StepOutcome): StepOutcome {
  if (state !== 'gapped' || notKept === undefined) return outcome;
  const told = `Its output is not kept. ${notKept}`;
  return { ...outcome, advice: outcome.advice === undefined ? told : `${outcome.advice} ${told}` };
}
