// What one agent says of the end of an attempt: its output is compared with what is stored, what it hands on and has
// transferred is taken, the end is settled, and the answer may carry the next step.
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
  /** How long ago the attempt began, in ms, where the database does not know it. */
  startedMsAgo(attempt: { step: number; epoch: number }): number | undefined;
  /** Whether the agent may be given a next step. */
  takesMore(): boolean;
  /** The attempt was settled: there is credit again, and maybe a next step to lease. */
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
      // Of what it says of others than its own nothing was taken: it can't be called complete.
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
    // Until the next one is there it stands for it: the slot is not free.
    if (result.next === undefined) attempts.forget({ stepId: step, epoch });
    const next = await settled(result);
    // From its delivery on the agent is to list it.
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
    // What failed anyway need not hand anything on.
    return 'outcome' in taken && outcome.status !== 'succeeded' ? {} : taken;
  }

  async #takeTransfers({ step, epoch, transfers }: AgentMessageOf<'complete'>) {
    return transfers === undefined
      ? undefined
      : await this.#deps.transfers?.take({ stepId: step, epoch }, transfers);
  }
}

/** Why there is no output is not to be looked for on the target, nor in the log of a server. */
function tellingOf(state: OutputState, notKept: string | undefined, outcome: StepOutcome): StepOutcome {
  if (state !== 'gapped' || notKept === undefined) return outcome;
  const told = `Its output is not kept. ${notKept}`;
  return { ...outcome, advice: outcome.advice === undefined ? told : `${outcome.advice} ${told}` };
}
