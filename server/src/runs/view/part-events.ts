// How many events of a run tell of the part that somebody sees. The history of a large run is long: it is gone through once
// for each part, and counted on from there.
import type { Reach } from '../../auth/authority.ts';
import type { Queryable } from '../../store/database/connection.ts';
import { countPartEvents } from '../../store/runs/run-parts.ts';

const maxParts = 1_000;

interface Counted {
  /** Number of the run's event up to which they were counted. */
  seq: number;
  count: number;
}

export class PartEvents {
  /** By the digest of the part, which no other run has. */
  readonly #counted = new Map<string, Promise<Counted>>();

  /**
   * How many there are up to the event of the run with this number, and the digest of the part that they were counted of:
   * it may have become another than the one that was expected.
   */
  async count(
    db: Queryable,
    run: { id: number; eventSeq: number },
    reaches: readonly Reach[],
    expected: string,
  ): Promise<{ digest: string; count: number }> {
    for (let digest = expected; ; ) {
      const before = this.#counted.get(digest);
      const counting = countOn(db, run, reaches, { digest, before });
      this.#keep(
        digest,
        counting.then(({ newest }) => newest),
      );
      const { count, isOf } = await counting;
      if (isOf === digest) return { digest, count };
      digest = isOf;
    }
  }

  #keep(digest: string, counted: Promise<Counted>): void {
    this.#counted.delete(digest);
    this.#counted.set(digest, counted);
    counted.catch(() => {
      if (this.#counted.get(digest) === counted) this.#counted.delete(digest);
    });
    const [oldest] = this.#counted.keys();
    if (this.#counted.size > maxParts && oldest !== undefined) this.#counted.delete(oldest);
  }
}

/** Who asks beside others waits for what they count, as it is most of it. */
async function countOn(
  db: Queryable,
  run: { id: number; eventSeq: number },
  reaches: readonly Reach[],
  { digest, before }: { digest: string; before: Promise<Counted> | undefined },
): Promise<{ count: number; isOf: string; newest: Counted }> {
  const known = (await before?.catch(() => undefined)) ?? { seq: 0, count: 0 };
  const { eventSeq: seq } = run;
  if (seq === known.seq) return { count: known.count, isOf: digest, newest: known };
  // Another has read the run since, and counted further.
  const isBack = seq < known.seq;
  const range = isBack ? { from: seq, to: known.seq } : { from: known.seq, to: seq };
  const told = await countPartEvents(db, run.id, reaches, range);
  if (told.digest !== digest) return { count: 0, isOf: told.digest, newest: known };
  const count = known.count + (isBack ? -told.count : told.count);
  return { count, isOf: digest, newest: isBack ? known : { seq, count } };
}
