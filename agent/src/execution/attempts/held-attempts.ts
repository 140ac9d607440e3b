// Every attempt that the agent holds, from its lease until the server has confirmed its end.
import { type JournalAttempt, limits } from '@opsconductor/protocol';
import { attemptKey } from '../../journal/replay.ts';
import type { Attempt } from './attempt.ts';

/** What identifies an attempt in a message or a chunk of output. */
type Named = Parameters<typeof attemptKey>[0];

export class HeldAttempts implements Iterable<Attempt> {
  readonly #attempts = new Map<string, Attempt>();
  #idleWaiters: (() => void)[] = [];

  [Symbol.iterator](): Iterator<Attempt> {
    return this.#attempts.values();
  }

  get size(): number {
    return this.#attempts.size;
  }

  get(name: Named): Attempt | undefined {
    return this.#attempts.get(attemptKey(name));
  }

  has(name: Named): boolean {
    return this.#attempts.has(attemptKey(name));
  }

  add(attempt: Attempt): void {
    this.#attempts.set(attemptKey(attempt), attempt);
  }

  /** Returns false if it was no longer held. */
  delete(attempt: Attempt): boolean {
    const wasHeld = this.#attempts.delete(attemptKey(attempt));
    if (this.#attempts.size === 0) for (const wake of this.#idleWaiters.splice(0)) wake();
    return wasHeld;
  }

  /** Returns all held attempts for `resume`, running ones first in case not all of them fit. */
  forResume(): { attempts: JournalAttempt[]; complete: boolean } {
    const rank = { running: 0, interrupted: 1, finished: 2, leased: 3 };
    const all = [...this].filter(({ forgotten }) => !forgotten).sort((a, b) => rank[a.state] - rank[b.state]);
    const attempts = all.slice(0, limits.maxHeldAttemptsPerHeartbeat).map((attempt) => ({
      ...attempt.name,
      state: attempt.state,
      lastSeq: attempt.output.lastSeq,
      ...survivesOf(attempt),
    }));
    return { attempts, complete: attempts.length === all.length };
  }

  /** Returns step and epoch of each attempt, for a heartbeat. */
  pairs(): [number, number][] {
    return [...this].slice(0, limits.maxHeldAttemptsPerHeartbeat).map(({ step, epoch }) => [step, epoch]);
  }

  /** Bytes of output on this machine's disk. */
  get spoolBytes(): number {
    return [...this].reduce((bytes, { output }) => bytes + output.storedBytes, 0);
  }

  /** Resolves when no attempt is held. */
  async idle(): Promise<void> {
    while (this.#attempts.size > 0) await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
  }
}

/** Part of the report of a start, so that another agent can take the command over. */
export function survivesOf({ survivingSinceMs }: Attempt): { survives?: true } {
  return survivingSinceMs === undefined ? {} : { survives: true };
}
