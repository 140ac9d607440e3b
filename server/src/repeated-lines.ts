// While the database is away, everything that needs it says so in the log, many times a second; while its disk is full,
// each agent whose output can't be stored, about every second. Of each message the first is logged, then one a minute
// with how many were left out, and in the end that it is over. What a caller was answered is always logged, since its
// request id may be asked for.

const everyMs = 60_000;
/**
 * When nothing has met it for this long, it is over: some part of the server needs the database every second, and waits
 * ten seconds for it at most.
 */
const quietMs = 30_000;
/** Messages that are told apart. */
const maxKinds = 200;

export interface RepeatedLinesOptions {
  /** Whether a line with this error tells of it. */
  tellsOf(error: unknown): boolean;
  /** Is told how many lines were left out, and for how long it was met. */
  onOver(told: { leftOut: number; lastedS: number }): void;
}

export class RepeatedLines {
  readonly #options: RepeatedLinesOptions;
  readonly #kinds = new Map<string, { loggedMs: number; leftOut: number }>();
  #leftOut = 0;
  #sinceMs = 0;
  #lastMs = 0;
  #quiet: NodeJS.Timeout | undefined;

  constructor(options: RepeatedLinesOptions) {
    this.#options = options;
  }

  /** Returns what to log instead of this; undefined for nothing. */
  pass<T extends readonly unknown[]>(line: T): T | [object, string] | undefined {
    const [fields, message] = line;
    if (typeof message !== 'string' || !this.#tells(fields)) return line;
    const nowMs = performance.now();
    if (this.#quiet === undefined) this.#sinceMs = nowMs;
    this.#lastMs = nowMs;
    this.#quiet ??= setTimeout(() => this.#over(), quietMs).unref();
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

  #over(): void {
    const told = { leftOut: this.#leftOut, lastedS: Math.round((this.#lastMs - this.#sinceMs) / 1_000) };
    this.#quiet = undefined;
    this.#leftOut = 0;
    this.#kinds.clear();
    this.#options.onOver(told);
  }

  #tells(fields: unknown): fields is object {
    if (typeof fields !== 'object' || fields === null || 'requestId' in fields) return false;
    return this.#options.tellsOf((fields as { err?: unknown }).err);
  }
}
