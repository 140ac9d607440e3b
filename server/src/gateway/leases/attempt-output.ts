// What the server knows of one attempt's output while its agent is connected: what was received, what is stored, and
// the digest chain over it.
import { createHash } from 'node:crypto';
import { chainLink, limits, type OutputFrame, type OutputState } from '@opsconductor/protocol';
import type { ResumedAttempt } from '../../runs/leases/resume-agent.ts';
import type { Sql } from '../../store/database/connection.ts';
import { chunkIndex, type IndexedChunk } from '../../store/runs/run-output.ts';

const zeroDigest = Buffer.alloc(32);

/**
 * Agents apply the cap to what the command printed, but masks may be longer than what they hide. Twice the cap leaves
 * room for that: our agents never exceed it, and any other agent must not fill the database.
 */
const maxOutputBytes = 2 * limits.maxOutputBytesPerAttempt;
/** Added to the size of each chunk, so that fewer bytes are allowed if they are sent one by one. */
const chunkCostBytes = 16;
/** After this many times, output that is still incomplete counts as lost. */
const maxResends = 3;

export interface ClaimedOutput {
  lastSeq: number;
  digest: string;
  truncated: boolean;
  gaps: readonly (readonly [number, number])[];
}

export type OutputVerdict = { state: OutputState; digest: string } | { resendFrom: number };

export class AttemptOutput {
  readonly stepId: number;
  readonly epoch: number;
  readonly leaseToken: string;
  readonly runId: number;
  readonly targetRunId: number;
  readonly stepNumber: number;
  readonly after: ResumedAttempt['after'];
  readonly attemptDay: string;
  /** Whether its command goes on without the agent, so that another agent may have it by now. */
  survives: boolean;
  /** The row of its step can't be written now, so that its session holds nothing of it in the database. */
  readonly isUnwritable: boolean;
  /** Why output that was sent could not be kept. If it is sent again, it may be. */
  notKept: string | undefined;
  /** Number of writes that aren't settled yet. */
  pending = 0;
  /** Highest seq up to which everything is stored. */
  stored: number;
  #received: number;
  /** Size of chunks 1..#received, each with its cost. What is stored of a chunk is hardly more than its raw length. */
  #bytes: number;
  /** Digest of chunks 1..#received; `undefined` if this process has not seen them all. */
  #digest: Buffer | undefined;
  #conflict = false;
  #resends = 0;
  #idle: (() => void)[] = [];

  constructor(attempt: ResumedAttempt) {
    this.stepId = attempt.stepId;
    this.epoch = attempt.epoch;
    this.leaseToken = attempt.leaseToken;
    this.runId = attempt.runId;
    this.targetRunId = attempt.targetRunId;
    this.stepNumber = attempt.stepNumber;
    this.after = attempt.after;
    this.attemptDay = attempt.attemptDay;
    this.survives = attempt.survives ?? false;
    this.isUnwritable = attempt.isUnwritable ?? false;
    this.stored = attempt.ackedSeq;
    this.#received = attempt.ackedSeq;
    this.#bytes = attempt.outputBytes + attempt.ackedSeq * chunkCostBytes;
    this.#digest = attempt.ackedSeq === 0 ? zeroDigest : undefined;
  }

  /** Whether this chunk exceeds what is kept of an attempt. A chunk that is sent again doesn't. */
  isMoreThanKept(frame: OutputFrame): boolean {
    return frame.seq > this.#received && this.#bytes + bytesOf(frame) > maxOutputBytes;
  }

  /** Records a received chunk before it is stored. */
  receive(frame: OutputFrame, sha256: Uint8Array): void {
    this.pending += 1;
    if (frame.seq !== this.#received + 1) {
      if (frame.seq > this.#received) this.#digest = undefined;
      return;
    }
    this.#received = frame.seq;
    this.#bytes += bytesOf(frame);
    if (this.#digest === undefined) return;
    this.#digest = createHash('sha256')
      .update(this.#digest)
      .update(chainLink({ ...frame, sha256 }))
      .digest();
  }

  /**
   * Records what became of a chunk. `differs` means that what was sent isn't what is stored under its number, if
   * anything is.
   */
  settle(frame: OutputFrame, result: 'stored' | 'differs'): void {
    this.pending -= 1;
    if (result === 'differs') this.#conflict = true;
    if (frame.seq === this.stored + 1) this.stored = frame.seq;
    if (this.pending === 0) for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Resolves when nothing that was received is waiting to be stored. */
  idle(): Promise<void> {
    return this.pending === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve));
  }

  /** Compares what the agent says about its output with what is stored. */
  async verify(sql: Sql, claimed: ClaimedOutput): Promise<OutputVerdict> {
    const whole = claimed.truncated ? 'truncated' : 'complete';
    const digest = this.#digest?.toString('base64');
    if (
      claimed.gaps.length === 0 &&
      this.stored === claimed.lastSeq &&
      digest === claimed.digest &&
      !this.#conflict
    ) {
      return { state: whole, digest };
    }
    const gaps = new MissingChunks(claimed);
    const chain = new DigestChain();
    const mayResend = this.#resends < maxResends;
    for await (const page of chunkIndex(sql, this)) {
      gaps.add(page);
      if (gaps.first !== undefined && mayResend) break;
      chain.add(page);
    }
    gaps.end();
    const missing = gaps.first;
    if (missing !== undefined && mayResend) return this.#resend(missing);
    const stored = chain.digest;
    if (missing === undefined && stored === claimed.digest) {
      return { state: claimed.gaps.length > 0 ? 'gapped' : whole, digest: stored };
    }
    // The digests differ although all numbers are there: have everything sent again once, then report that it differs.
    if (missing === undefined && claimed.gaps.length === 0 && this.#resends === 0) return this.#resend(1);
    return { state: 'gapped', digest: stored };
  }

  #resend(fromSeq: number): OutputVerdict {
    this.#resends += 1;
    return { resendFrom: fromSeq };
  }
}

function bytesOf({ rawLength }: OutputFrame): number {
  return rawLength + chunkCostBytes;
}

/**
 * Finds the first of 1..lastSeq that is neither stored nor in a gap. Its time depends on what is stored, not on what is
 * claimed.
 */
class MissingChunks {
  first: number | undefined;
  readonly #claimed: Pick<ClaimedOutput, 'lastSeq' | 'gaps'>;
  #next = 1;

  constructor(claimed: Pick<ClaimedOutput, 'lastSeq' | 'gaps'>) {
    this.#claimed = claimed;
  }

  /** Adds what is stored, in order. */
  add(chunks: readonly { seq: number }[]): void {
    for (const { seq } of chunks) {
      this.#skipGaps(seq - 1);
      if (this.first !== undefined) return;
      if (seq === this.#next) this.#next += 1;
    }
  }

  /** Nothing more is stored. */
  end(): void {
    this.#skipGaps(Number.POSITIVE_INFINITY);
  }

  /** None of the numbers up to this one is stored, from the next one on. */
  #skipGaps(upTo: number): void {
    const { lastSeq, gaps } = this.#claimed;
    while (this.first === undefined && this.#next <= Math.min(upTo, lastSeq)) {
      const gap = gaps.find(([from, to]) => from <= this.#next && this.#next <= to);
      if (gap === undefined) this.first = this.#next;
      else this.#next = gap[1] + 1;
    }
  }
}

/** The digest chain over chunks, in base64. */
export class DigestChain {
  #digest: Buffer = zeroDigest;

  get digest(): string {
    return this.#digest.toString('base64');
  }

  add(chunks: readonly IndexedChunk[]): void {
    for (const chunk of chunks)
      this.#digest = createHash('sha256').update(this.#digest).update(chainLink(chunk)).digest();
  }
}
