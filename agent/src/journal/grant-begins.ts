// What was begun under the grants of runs, until these expire: a step that is leased again under one would run twice.
import type { JournalRecord } from './journal-record.ts';

export type GrantBegin = Omit<Extract<JournalRecord, { is: 'granted' }>, 'is'>;

export class GrantBegins {
  readonly #begun = new Map<string, GrantBegin>();
  #lostAt: string | undefined;

  /** The newest step that was begun on a target under a grant. */
  find(nonce: string, target: number): GrantBegin | undefined {
    return this.#begun.get(keyOf(nonce, target));
  }

  /** When what was begun before was lost, with the journal that had it. */
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

  /** The fewest records that say the same of what has not expired. */
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
