// The end of an attempt as it is reported, and what is answered to it.
import type { OutputState, StepOutcome } from '@opsconductor/protocol';
import type { ClaimedStep } from '../../store/queue/claims/claims.ts';
import type { NewStepOutputs } from '../../store/runs/run-values.ts';
import type { NewTransfers } from '../../store/runs/transfers/transfers.ts';

export type SessionRef = { agentId: number; sessionNumber: number };

/** Who says that an attempt has ended: its agent, or the server when it gives the attempt up. */
export type EndSource =
  | {
      kind: 'agent';
      agentId: number;
      sessionNumber: number;
      requestId: string;
      wantsNext: boolean;
      /** How many steps the agent may be leased ahead of their turn, beyond the next one; none if omitted. */
      ahead?: number;
    }
  | {
      kind: 'server';
      /**
       * Settle only if this session still has the attempt: another agent may have taken it over under the same lease.
       */
      heldBy?: SessionRef;
    };

export interface AttemptEnd {
  stepId: number;
  epoch: number;
  leaseToken: string;
  source: EndSource;
  /** Time since the step began, in ms, if the database has no record of its start. */
  startedMsAgo?: number | undefined;
  outcome: StepOutcome;
  output: { state: OutputState; digest: string | null; gaps: readonly (readonly [number, number])[] };
  /** What the step hands on to later steps. */
  handsOn?: Omit<NewStepOutputs, 'stepId' | 'epoch'> | undefined;
  /** Files that the step has moved. */
  transfers?: Omit<NewTransfers, 'stepId' | 'epoch'> | undefined;
}

/** What an agent is told about the end of an attempt. */
export interface SettleResult {
  stepId: number;
  epoch: number;
  /** `early`: nothing was done, because the step before it has yet to be settled. */
  result: 'settled' | 'superseded' | 'forget' | 'early';
  next?: ClaimedStep;
  /** Steps leased ahead of their turn, in the order in which they follow. */
  ahead?: ClaimedStep[];
  /** The same request had already settled the attempt. The step that was leased by it isn't returned again. */
  isRepeated?: true;
}

export function answer(end: AttemptEnd, result: SettleResult['result']): SettleResult {
  return { stepId: end.stepId, epoch: end.epoch, result };
}
