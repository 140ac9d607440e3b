// Records what was begun under the grants of runs until they expire, so that a step leased again under the same grant
// does not run twice.
import type { JournalRecord } from './journal-record.ts';

export type GrantBegin = Omit<Extract<JournalRecord, { is: 'granted' }>, 'is'>;

export class GrantBegins {
  readonly #begun = new Map<string, GrantBegin>();
  #lostAt: string | undefined;

  /** Returns the newest step that was begun on a target under a grant. */
  find(nonce: string, target: number): GrantBegin | undefined {
    return this.#begun.get(keyOf(nonce, target));
  }

  /** The time of the loss, if an earlier record of begins was lost with its journal. */
  get lostAt(): Date | undefined {
    return this.#lostAt === undefined ? undefined : new Date(this.#lostAt);
  }

  apply(record: Extract<JournalRecord, { is: 'granted' | 'grants_lost' }>): void {
    if (record.is === 'grants_lost') {
      this.#lostAt = record.at;
      return;
    }
    const { is: _, ...begin } = record;
    this.#begun.set(keyOf(begin.nonce, begin.target), begin);
  }

  /** Returns the fewest records that restore everything that has not expired. */
  records(now: Date): JournalRecord[] {
    const time = now.toISOString();
    for (const [key, { until }] of this.#begun) if (until <= time) this.#begun.delete(key);
    const begun = [...this.#begun.values()].map((begin): JournalRecord => ({ is: 'granted', ...begin }));
    return this.#lostAt === undefined ? begun : [{ is: 'grants_lost', at: this.#lostAt }, ...begun];
  }
}

function keyOf(nonce: string, target: number): string {
  return `${nonce} ${target}`;
}
