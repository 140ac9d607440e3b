// One attempt that this agent holds, from its lease until the server confirms its end.
import { createHash } from 'node:crypto';
import type {
  AgentMessageOf,
  JournalAttempt,
  Lease,
  StepOutcome,
  TransferReport,
} from '@opsconductor/protocol';
import type { AttemptOutput } from '../../spool/attempt-output.ts';
import type { StopRequest } from '../../steps/step-type.ts';
import { tellMissing } from './lost-output.ts';

export interface Completion {
  requestId: string;
  outcome: StepOutcome;
  output: AgentMessageOf<'complete'>['output'];
  /** Outputs that the step hands on. */
  handsOn?: NonNullable<AgentMessageOf<'complete'>['handsOn']>;
  /** The files that the step transferred, and what became of each. */
  transfers?: TransferReport;
}

/** Marks the processes of an attempt on its target. */
export function attemptMarker(
  installationId: string,
  { step, epoch }: { step: number; epoch: number },
): string {
  return `${installationId}.${step}.${epoch}`;
}

export class Attempt {
  readonly step: number;
  readonly epoch: number;
  readonly leaseToken: string;
  readonly output: AttemptOutput;
  /** Undefined for an attempt of an earlier process whose command can't be found again. */
  lease: Lease | undefined;
  state: JournalAttempt['state'] = 'leased';
  completion: Completion | undefined;
  /** Whether what was leased to follow it may begin; undefined until it has ended. */
  mayBeFollowed: boolean | undefined;
  /** Whether its target answers, as last reported; undefined if nothing was to be reported. */
  silence: { heardAtMs: number; endsAtMs: number } | 'answers' | undefined;
  /** The server wants no more reports about it. */
  forgotten = false;
  /**
   * When its command was begun, on the clock of `performance.now()`, if the command outlives the process that began it.
   */
  survivingSinceMs: number | undefined;
  /** Its command was begun by an earlier process and has to be found again. */
  toReattach = false;
  reattaching = false;
  /** Another agent began its command. Nothing is done until it is known whether this one may continue it. */
  takingUp = false;
  /** Its command was given a file for its outputs, which is still on the target. */
  hasOutputFile = false;
  /** How many times its command has been taken over; undefined if this agent began it. */
  collector: number | undefined;
  /** Another agent has it, or may have it, and owns what is on the target. */
  taken = false;
  /** It was leased to another agent meanwhile and may not begin. */
  revoked = false;
  readonly #stop = new AbortController();

  constructor(options: {
    step: number;
    epoch: number;
    leaseToken: string;
    output: AttemptOutput;
    lease?: Lease;
  }) {
    this.step = options.step;
    this.epoch = options.epoch;
    this.leaseToken = options.leaseToken;
    this.output = options.output;
    this.lease = options.lease;
  }

  /** Aborted with a `StopRequest` as the reason. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  stop(request: StopRequest): void {
    this.#stop.abort(request);
  }

  /** Makes the output continue after what the server has, at the start of a session. */
  reconcileOutput(ackedSeq: number): void {
    const { output, completion } = this;
    output.serverHas(ackedSeq);
    output.sendFrom(Math.min(ackedSeq, output.lastSeq) + 1);
    output.acknowledge(ackedSeq);
    if (completion !== undefined && output.gaps.length > 0) {
      if (completion.output.gaps.length === 0) completion.outcome = tellMissing(completion.outcome);
      completion.output.gaps = [[ackedSeq + 1, completion.output.lastSeq]];
    }
    // The server has chunks that this disk lost in a crash; they are not in the digest.
    if (completion !== undefined && ackedSeq > completion.output.lastSeq) {
      completion.output.gaps = [[output.lastSeq + 1, ackedSeq]];
      completion.output.lastSeq = ackedSeq;
    }
  }

  /** The marker by which its processes are found on a target. */
  marker(installationId: string): string {
    return attemptMarker(installationId, this);
  }

  /** The name of its directory on a target. The token is part of it because numbers repeat after a database restore. */
  directoryName(installationId: string): string {
    const token = createHash('sha256').update(this.leaseToken).digest('hex').slice(0, 16);
    return `${installationId}.${this.step}.${this.epoch}.${token}`;
  }

  /** The fields that identify it in messages. */
  get name(): { step: number; epoch: number; leaseToken: string } {
    return { step: this.step, epoch: this.epoch, leaseToken: this.leaseToken };
  }
}
