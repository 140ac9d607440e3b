// One attempt as this agent holds it, from its lease until the server confirms its end.
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

export interface Completion {
  requestId: string;
  outcome: StepOutcome;
  output: AgentMessageOf<'complete'>['output'];
  /** What the step hands on. */
  handsOn?: NonNullable<AgentMessageOf<'complete'>['handsOn']>;
  /** What a transfer has come to. */
  transfers?: TransferReport;
}

export class Attempt {
  readonly step: number;
  readonly epoch: number;
  readonly leaseToken: string;
  readonly output: AttemptOutput;
  /** Undefined for an attempt of an earlier process that can't be found again. */
  lease: Lease | undefined;
  state: JournalAttempt['state'] = 'leased';
  completion: Completion | undefined;
  /** The server does not want to hear of it any more. */
  forgotten = false;
  /** When its command was begun, where that goes on without the process that began it. */
  survivingSince: Date | undefined;
  /** Its command was begun by an earlier process and is to be found again. */
  toReattach = false;
  reattaching = false;
  /** Another agent has begun its command, and whether this one may go on with it is not known yet: nothing of it is done. */
  takingUp = false;
  /** Its command was given a file to hand values on by, which lies on the target still. */
  hasOutputFile = false;
  /** How often agents have taken its command up from one another; undefined where this one began it. */
  collector: number | undefined;
  /** Another agent has it: what is on the target is that one's. */
  taken = false;
  /** Leased to somebody else meanwhile: it may not begin. */
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

  /** Aborted with a `StopRequest`. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  stop(request: StopRequest): void {
    this.#stop.abort(request);
  }

  /** Marks its processes on a target. */
  marker(installationId: string): string {
    return `${installationId}.${this.step}.${this.epoch}`;
  }

  /** Names its directory on a target. The token is in it since numbers come again after a database was restored. */
  directoryName(installationId: string): string {
    const token = createHash('sha256').update(this.leaseToken).digest('hex').slice(0, 16);
    return `${installationId}.${this.step}.${this.epoch}.${token}`;
  }

  /** What names it in messages. */
  get name(): { step: number; epoch: number; leaseToken: string } {
    return { step: this.step, epoch: this.epoch, leaseToken: this.leaseToken };
  }
}
