// Handles what one agent says about the end of an attempt: compares its output with what is stored, takes what it hands
// on and has transferred, and settles it. The answer may carry the next step.
import type {
  AgentMessageOf,
  Lease,
  OutputState,
  ServerMessageOf,
  StepOutcome,
} from '@opsconductor/protocol';
import type { SettleResult } from '../../runs/progress/settle-attempts.ts';
import type { TransferTaker } from '../../runs/transfers/take-transfers.ts';
import type { HandedOnValues, TakenOutputs } from '../../runs/values/handed-on.ts';
import type { Sql } from '../../store/database/connection.ts';
import type { Settler } from '../leases/settler.ts';
import { attemptOf, type DeliveredAttempts } from './delivered-attempts.ts';

export interface CompletionDeps {
  sql: Sql;
  agent: { agentId: number; sessionNumber: number };
  attempts: DeliveredAttempts;
  settler: Settler;
  handedOn?: Pick<HandedOnValues, 'take'> | undefined;
  transfers?: Pick<TransferTaker, 'take'> | undefined;
  /** Returns the time since the attempt began, in ms, if the database doesn't know it. */
  startedMsAgo(attempt: { step: number; epoch: number }): number | undefined;
  /** Whether the agent may be given a next step. */
  takesMore(): boolean;
  /** Called after the attempt was settled: the agent has a free slot again, and there may be a next step to lease. */
  settled(result: SettleResult): Promise<Lease | undefined>;
  send(message: ServerMessageOf<'completed'>): void;
}

export class Completions {
  readonly #deps: CompletionDeps;

  constructor(deps: CompletionDeps) {
    this.#deps = deps;
  }

  async take(message: AgentMessageOf<'complete'>): Promise<void> {
    const { agent, attempts, settler, settled, send } = this.#deps;
    const { step, epoch, requestId } = message;
    const attempt = attempts.get(message);
    const answer = { type: 'completed', requestId, step, epoch } as const;
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
    const result = await settler.settle({
      stepId: step,
      epoch,
      leaseToken: message.leaseToken,
      source: {
        kind: 'agent',
        ...agent,
        requestId,
        wantsNext: message.wantsNext && this.#deps.takesMore(),
      },
      startedMsAgo: attempt?.leaseToken === message.leaseToken ? this.#deps.startedMsAgo(message) : undefined,
      outcome: tellingOf(output.state, attempt?.notKept, taken.outcome ?? message.outcome),
      output: { ...output, gaps: message.output.gaps },
      handsOn: taken.handsOn,
      transfers: moved,
    });
    // If there is a next step, this attempt keeps its place until that is added: the slot isn't free.
    if (result.next === undefined) attempts.forget({ stepId: step, epoch });
    const next = await settled(result);
    // The agent has to list the next attempt once it is delivered.
    if (next !== undefined && result.next !== undefined) attempts.add([attemptOf(result.next)]);
    attempts.forget({ stepId: step, epoch });
    send(
      next === undefined ? { ...answer, result: result.result } : { ...answer, result: result.result, next },
    );
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

/**
 * Adds to the advice why output is missing, so that nobody has to look for the reason on the target or in a server's
 * log.
 */
function tellingOf(state: OutputState, notKept: string | undefined, outcome: StepOutcome): StepOutcome {
  if (state !== 'gapped' || notKept === undefined) return outcome;
  const told = `Its output is not kept. ${notKept}`;
  return { ...outcome, advice: outcome.advice === undefined ? told : `${outcome.advice} ${told}` };
}
