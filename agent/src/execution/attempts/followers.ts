// Attempts that were leased ahead of their turn: each waits for the one before it in its target run, on this agent. One
// that has waited for too long goes back to the server with all that follow it, so that what the server decides between
// steps is never long out of date.
import { attemptKey } from '../../journal/replay.ts';
import type { Attempt } from './attempt.ts';

export interface FollowersOptions {
  /** How long an attempt may wait, in ms. */
  keepMs: number;
  /** Called with attempts that will not begin, in the order in which they follow; they are no longer kept here. */
  onKeptTooLong(attempts: Attempt[]): void;
}

export class Followers {
  readonly #options: FollowersOptions;
  /** By the attempt before. */
  readonly #waiting = new Map<string, { attempt: Attempt; timer: NodeJS.Timeout }>();

  constructor(options: FollowersOptions) {
    this.#options = options;
  }

  /** Keeps an attempt until the one before it has ended. */
  add(attempt: Attempt, before: Attempt): void {
    const timer = setTimeout(
      () => this.#options.onKeptTooLong(this.takeAllAfter(before)),
      this.#options.keepMs,
    );
    this.#waiting.set(attemptKey(before), { attempt, timer });
  }

  /** Returns the attempt that waits for this one. */
  of(attempt: Attempt): Attempt | undefined {
    return this.#waiting.get(attemptKey(attempt))?.attempt;
  }

  /** Hands over the attempt that waits for this one. */
  takeAfter(attempt: Attempt): Attempt | undefined {
    const key = attemptKey(attempt);
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) return undefined;
    clearTimeout(waiting.timer);
    this.#waiting.delete(key);
    return waiting.attempt;
  }

  /** Hands over everything that follows this attempt, in order. */
  takeAllAfter(attempt: Attempt): Attempt[] {
    const taken: Attempt[] = [];
    for (let last = this.takeAfter(attempt); last !== undefined; last = this.takeAfter(last))
      taken.push(last);
    return taken;
  }

  /** Hands over everything that waits. */
  takeAll(): Attempt[] {
    const all = [...this.#waiting.values()];
    for (const { timer } of all) clearTimeout(timer);
    this.#waiting.clear();
    return all.map(({ attempt }) => attempt);
  }
}
