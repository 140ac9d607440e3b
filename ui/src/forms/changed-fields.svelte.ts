// Saves changes of things that have no versions: sends only the fields that a person has changed, with their previous
// values. If somebody else has changed one of them in the meantime, it says so and keeps what was typed; saving again
// overwrites the other change.
import { ApiError } from '../api/client.ts';

/** A field that both have changed. */
export interface FieldConflict<T> {
  field: keyof T & string;
  /** The value that somebody else has saved. */
  now: T[keyof T];
}

export class ChangedFields<T extends object> {
  conflicts = $state.raw<FieldConflict<T>[]>([]);
  readonly #read: () => Promise<T>;
  /** What changes are detected against: the opened values as the form shows them. */
  #first: T;
  /** The values that the server had. */
  #was: T;

  /** @param read returns the current state of the thing */
  constructor(opened: T, asShown: T, read: () => Promise<T>) {
    this.#was = opened;
    this.#first = asShown;
    this.#read = read;
  }

  /** Returns what to send, or undefined if nothing has changed. */
  change(typed: T): (Partial<T> & { expected: Partial<T> }) | undefined {
    const fields = (Object.keys(typed) as (keyof T & string)[]).filter(
      (field) => canonical(typed[field]) !== canonical(this.#first[field]),
    );
    if (fields.length === 0) return undefined;
    return { ...pick(typed, fields), expected: pick(this.#was, fields) };
  }

  /**
   * Sends the changed fields, if any; `send` returns the saved thing. A conflicting field that already has the typed
   * value counts as saved: an earlier attempt may have succeeded although its answer was lost.
   *
   * @throws {ApiError} from `send`; if fields conflict, `conflicts` lists them
   */
  async save<R extends T>(
    typed: T,
    send: (change: Partial<T> & { expected: Partial<T> }) => Promise<R>,
  ): Promise<R | undefined> {
    this.conflicts = [];
    const change = this.change(typed);
    if (change === undefined) return undefined;
    try {
      const saved = await send(change);
      this.#was = saved;
      this.#first = typed;
      return saved;
    } catch (error) {
      const fields = fieldsChanged(error).filter((field): field is keyof T & string => field in typed);
      if (fields.length === 0) throw error;
      const now = await this.#read();
      this.#was = { ...this.#was, ...pick(now, fields) };
      this.#first = { ...this.#first, ...pick(now, fields) };
      this.conflicts = fields
        .filter((field) => canonical(now[field]) !== canonical(typed[field]))
        .map((field) => ({ field, now: now[field] }));
      if (this.conflicts.length > 0) throw error;
      return this.save(typed, send);
    }
  }
}

const prefix = 'expected.';

function fieldsChanged(error: unknown): string[] {
  if (!(error instanceof ApiError) || error.code !== 'conflict') return [];
  return error.details.flatMap(({ path }) => (path.startsWith(prefix) ? [path.slice(prefix.length)] : []));
}

function pick<T extends object>(from: T, fields: readonly (keyof T)[]): Partial<T> {
  return Object.fromEntries(fields.map((field) => [field, from[field]])) as Partial<T>;
}

/** As text that doesn't depend on the order of keys. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
