// The attempts that one agent was given, or presented when it connected, and that haven't ended. The agent may report
// only on these.
import { limits } from '@opsconductor/protocol';
import type { ResumedAttempt } from '../../runs/leases/resume-agent.ts';
import type { ClaimedStep } from '../../store/queue/claims/claims.ts';
import { AttemptOutput } from '../leases/attempt-output.ts';

const maxSlotsWithAhead = 64;
const maxOthers = (limits.maxHeldAttemptsPerHeartbeat - limits.maxSlots) / 2;

export class DeliveredAttempts {
  readonly #attempts = new Map<string, AttemptOutput>();
  readonly #byTargetRun = new Map<number, Set<AttemptOutput>>();
  /** Number of consecutive heartbeats that haven't listed the attempt. */
  readonly #unlisted = new Map<string, number>();

  /** Attempts whose ends are being settled. */
  readonly #settling = new Set<string>();
  readonly #waiting = new Set<() => void>();
  #isClosed = false;

  /** Number of slots they take: one for each target run, even if steps of it were leased ahead of their turn. */
  get slots(): number {
    return this.#byTargetRun.size;
  }

  /**
   * How many steps of a target run may be leased ahead now. All that an agent holds has to fit into a heartbeat, and into
   * the `resume` of its next connection: one attempt for each slot, and twice as many others as this shares out, since
   * all target runs may ask at once.
   */
  get roomAhead(): number {
    const slots = this.#byTargetRun.size;
    const others = this.#attempts.size - slots;
    // With many target runs an agent has enough to do, and waits for nothing.
    if (slots > maxSlotsWithAhead) return 0;
    return Math.max(0, Math.min(maxOthers - others, Math.floor(maxOthers / Math.max(1, slots))));
  }

  holdsTargetRun(targetRunId: number): boolean {
    return this.#byTargetRun.has(targetRunId);
  }

  /** Whether a later step of its target run was delivered as well. */
  isFollowed({ targetRunId, stepNumber }: AttemptOutput): boolean {
    for (const other of this.#byTargetRun.get(targetRunId) ?? [])
      if (other.stepNumber > stepNumber) return true;
    return false;
  }

  /**
   * Resolves when the end of an attempt can be settled: when that of the attempt that it was leased to follow is being
   * settled, or is no longer awaited. Resolves to false if the connection is gone before.
   */
  async turnOf(attempt: AttemptOutput): Promise<boolean> {
    while (this.#isBehind(attempt)) {
      if (this.#isClosed) return false;
      await new Promise<void>((resolve) => this.#waiting.add(resolve));
    }
    return true;
  }

  /** Tells that the end of the attempt is being settled from now on. */
  settling(attempt: AttemptOutput): void {
    this.#settling.add(keyOf(attempt));
    this.#tellWaiting();
  }

  /** No end is waited for any longer: the connection is gone. */
  close(): void {
    this.#isClosed = true;
    this.#tellWaiting();
  }

  /** Not behind others of its target run: those were given up, and may never end. */
  #isBehind({ after }: AttemptOutput): boolean {
    if (after === undefined) return false;
    const key = keyOf({ stepId: after.step, epoch: after.epoch });
    return this.#attempts.has(key) && !this.#settling.has(key);
  }

  #tellWaiting(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const resolve of waiting) resolve();
  }

  has(attempt: { stepId: number; epoch: number }): boolean {
    return this.#attempts.has(keyOf(attempt));
  }

  /** Returns the attempt that a message or frame is about. */
  get({ step, epoch }: { step: number; epoch: number }): AttemptOutput | undefined {
    return this.#attempts.get(keyOf({ stepId: step, epoch }));
  }

  /** Returns that attempt, if the lease token matches. */
  ofLease(told: { step: number; epoch: number; leaseToken: string }): AttemptOutput | undefined {
    const attempt = this.get(told);
    return attempt?.leaseToken === told.leaseToken ? attempt : undefined;
  }

  add(attempts: readonly ResumedAttempt[]): void {
    for (const attempt of attempts) {
      this.forget(attempt);
      const added = new AttemptOutput(attempt);
      this.#attempts.set(keyOf(attempt), added);
      const ofTargetRun = this.#byTargetRun.get(added.targetRunId);
      if (ofTargetRun === undefined) this.#byTargetRun.set(added.targetRunId, new Set([added]));
      else ofTargetRun.add(added);
    }
  }

  forget(attempt: { stepId: number; epoch: number }): void {
    const key = keyOf(attempt);
    const forgotten = this.#attempts.get(key);
    if (forgotten === undefined) return;
    this.#attempts.delete(key);
    const ofTargetRun = this.#byTargetRun.get(forgotten.targetRunId);
    ofTargetRun?.delete(forgotten);
    if (ofTargetRun?.size === 0) this.#byTargetRun.delete(forgotten.targetRunId);
    this.#unlisted.delete(key);
    this.#settling.delete(key);
    this.#tellWaiting();
  }

  /**
   * Compares what the agent lists with these attempts. Returns those that have just been missing in three consecutive
   * heartbeats: the agent no longer has them, or all three heartbeats left before the delivery arrived.
   */
  missed(held: readonly (readonly [number, number])[]): AttemptOutput[] {
    const listed = new Set(held.map(([stepId, epoch]) => keyOf({ stepId, epoch })));
    const missed: AttemptOutput[] = [];
    for (const [key, attempt] of this.#attempts) {
      if (listed.has(key) || attempt.pending > 0) {
        this.#unlisted.delete(key);
        continue;
      }
      const times = (this.#unlisted.get(key) ?? 0) + 1;
      this.#unlisted.set(key, times);
      // The heartbeat that crossed the delivery on the wire may not list it either, hence the third.
      if (times === 3) missed.push(attempt);
    }
    return missed;
  }
}

/** Returns an attempt that is just being delivered. */
export function attemptOf(claimed: ClaimedStep): ResumedAttempt {
  return {
    stepId: claimed.id,
    epoch: claimed.epoch,
    leaseToken: claimed.leaseToken,
    runId: claimed.jobRunId,
    targetRunId: claimed.targetRunId,
    stepNumber: claimed.stepNumber,
    ...(claimed.after === undefined ? {} : { after: claimed.after }),
    attemptDay: claimed.attemptDay,
    ackedSeq: 0,
    outputBytes: 0,
  };
}

export function keyOf(attempt: { stepId: number; epoch: number }): string {
  return `${attempt.stepId}.${attempt.epoch}`;
}
