// A change of what has no versions sends only the fields that a person has changed, and what these were. Where somebody
// else has changed one of them meanwhile, it is told, what was typed stays, and saving again puts it in place.
import { ApiError } from '../api/client.ts';

/** A field that two people have changed. */
export interface FieldConflict<T> {
  field: keyof T & string;
  /** What it is by now, by somebody else. */
  now: T[keyof T];
}

export class ChangedFields<T extends object> {
  conflicts = $state.raw<FieldConflict<T>[]>([]);
  readonly #read: () => Promise<T>;
  /** What a change is compared with: as the form shows what was opened. */
  #first: T;
  /** As the server had it. */
  #was: T;

  /** `read` answers what the thing is by now. */
  constructor(opened: T, asShown: T, read: () => Promise<T>) {
    this.#was = opened;
    this.#first = asShown;
    this.#read = read;
  }

  /** What is to be sent; undefined where nothing differs. */
  change(typed: T): (Partial<T> & { expected: Partial<T> }) | undefined {
    const fields = (Object.keys(typed) as (keyof T & string)[]).filter(
      (field) => canonical(typed[field]) !== canonical(this.#first[field]),
    );
    if (fields.length === 0) return undefined;
    return { ...pick(typed, fields), expected: pick(this.#was, fields) };
  }

  /**
   * Sends what differs, if anything does; `send` answers the thing as it is then. What is by now as it was entered, as where
   * the answer to an earlier try was lost, is saved already.
   *
   * @throws {ApiError} of `send`; where it says that fields are others by now, `conflicts` has them then.
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

/** As text that does not go by the order of names. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
