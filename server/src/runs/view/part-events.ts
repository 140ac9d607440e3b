// Counts the events of a run that concern the part that a reader sees. The history of a large run is long, so it is
// read once for each part, and counted on from there.
import type { Reach } from '../../auth/authority.ts';
import type { Queryable } from '../../store/database/connection.ts';
import { countPartEvents } from '../../store/runs/lists/run-parts.ts';

const maxParts = 1_000;

interface Counted {
  /** Number of the last event of the run that was considered. */
  seq: number;
  count: number;
}

export class PartEvents {
  /** By the digest of the part, which is unique to it across runs. */
  readonly #counted = new Map<string, Promise<Counted>>();

  /**
   * Returns how many events of the part there are up to event `run.eventSeq` of the run, and the digest of the part
   * that was counted. The part may have changed, and then isn't the expected one.
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

/** Counts on from an earlier count. Waits for that if it is still being made, since it is most of the work. */
async function countOn(
  db: Queryable,
  run: { id: number; eventSeq: number },
  reaches: readonly Reach[],
  { digest, before }: { digest: string; before: Promise<Counted> | undefined },
): Promise<{ count: number; isOf: string; newest: Counted }> {
  const known = (await before?.catch(() => undefined)) ?? { seq: 0, count: 0 };
  const { eventSeq: seq } = run;
  if (seq === known.seq) return { count: known.count, isOf: digest, newest: known };
  // Someone else has read the run since, and counted further.
  const isBack = seq < known.seq;
  const range = isBack ? { from: seq, to: known.seq } : { from: known.seq, to: seq };
  const told = await countPartEvents(db, run.id, reaches, range);
  if (told.digest !== digest) return { count: 0, isOf: told.digest, newest: known };
  const count = known.count + (isBack ? -told.count : told.count);
  return { count, isOf: digest, newest: isBack ? known : { seq, count } };
}
