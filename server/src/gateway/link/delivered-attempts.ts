// The attempts that one agent was given, or presented when it connected, and that haven't ended. The agent may report
// only on these.
import type { ResumedAttempt } from '../../runs/leases/resume-agent.ts';
import type { ClaimedStep } from '../../store/queue/claims.ts';
import { AttemptOutput } from '../leases/attempt-output.ts';

export class DeliveredAttempts {
  readonly #attempts = new Map<string, AttemptOutput>();
  /** Number of consecutive heartbeats that haven't listed the attempt. */
  readonly #unlisted = new Map<string, number>();

  get size(): number {
    return this.#attempts.size;
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
    for (const attempt of attempts) this.#attempts.set(keyOf(attempt), new AttemptOutput(attempt));
  }

  forget(attempt: { stepId: number; epoch: number }): void {
    this.#attempts.delete(keyOf(attempt));
    this.#unlisted.delete(keyOf(attempt));
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
    attemptDay: claimed.attemptDay,
    ackedSeq: 0,
    outputBytes: 0,
  };
}

export function keyOf(attempt: { stepId: number; epoch: number }): string {
  return `${attempt.stepId}.${attempt.epoch}`;
}
