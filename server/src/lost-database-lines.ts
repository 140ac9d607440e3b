// While the database is away, everything that needs it says so in the log, many times a second. Of each message the first
// is logged, then one a minute with how many were left out, and in the end that the database is back. What a caller was
// answered is always logged, since its request id may be asked for.
import { isDatabaseLost } from './store/database/database-lost.ts';

const everyMs = 60_000;
/**
 * When nothing has missed the database for this long, it is back: some part of the server needs it every second, and waits
 * ten seconds for it at most.
 */
const quietMs = 30_000;
/** Messages that are told apart. */
const maxKinds = 200;

export class LostDatabaseLines {
  readonly #onBack: (told: { leftOut: number; awayS: number }) => void;
  readonly #kinds = new Map<string, { loggedMs: number; leftOut: number }>();
  #leftOut = 0;
  #sinceMs = 0;
  #lastMs = 0;
  #quiet: NodeJS.Timeout | undefined;

  /** `onBack` is told how many lines were left out, and for how long the database was missed. */
  constructor(onBack: (told: { leftOut: number; awayS: number }) => void) {
    this.#onBack = onBack;
  }

  /** Returns what to log instead of this; undefined for nothing. */
  pass<T extends readonly unknown[]>(line: T): T | [object, string] | undefined {
    const [fields, message] = line;
    if (typeof message !== 'string' || !tellsOfLoss(fields)) return line;
    const nowMs = performance.now();
    if (this.#quiet === undefined) this.#sinceMs = nowMs;
    this.#lastMs = nowMs;
    this.#quiet ??= setTimeout(() => this.#back(), quietMs).unref();
    this.#quiet.refresh();
    const kind = this.#kinds.get(message);
    if (kind === undefined) {
      if (this.#kinds.size < maxKinds) this.#kinds.set(message, { loggedMs: nowMs, leftOut: 0 });
      return line;
    }
    if (nowMs < kind.loggedMs + everyMs) {
      kind.leftOut += 1;
      this.#leftOut += 1;
      return undefined;
    }
    const { leftOut } = kind;
    this.#kinds.set(message, { loggedMs: nowMs, leftOut: 0 });
    return leftOut === 0 ? line : [{ ...fields, leftOut }, message];
  }

  #back(): void {
    const told = { leftOut: this.#leftOut, awayS: Math.round((this.#lastMs - this.#sinceMs) / 1_000) };
    this.#quiet = undefined;
    this.#leftOut = 0;
    this.#kinds.clear();
    this.#onBack(told);
  }
}

function tellsOfLoss(fields: unknown): fields is object {
  if (typeof fields !== 'object' || fields === null || 'requestId' in fields) return false;
  return isDatabaseLost((fields as { err?: unknown }).err);
}
