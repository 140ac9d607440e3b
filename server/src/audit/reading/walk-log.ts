// Reads the sealed log in its own order: places, and each checkpoint after those that it covers. It uses short queries
// one after another, so that a slow reader holds nothing up.
import { readCheckpoint } from '@opsconductor/protocol/audit';
import { type CheckpointRow, checkpointsAfter, latestCheckpoint } from '../../store/audit/audit-seals.ts';
import { type PlaceRow, readPlaces } from '../../store/audit/audit-verification.ts';
import type { Sql } from '../../store/database/connection.ts';

export type LogItem = { kind: 'place'; place: PlaceRow } | { kind: 'checkpoint'; note: string };

const placesPerQuery = 1_000;
const checkpointsPerQuery = 500;

/**
 * Yields everything up to the checkpoint that is the newest at the beginning, in one batch per query. Places after it
 * follow only if no later checkpoint has been made meanwhile, because then no checkpoint covers them.
 */
export async function* walkLog(sql: Sql): AsyncGenerator<LogItem[]> {
  const newest = (await latestCheckpoint(sql))?.number ?? 0;
  let position = 0;
  for (let number = 0; number < newest; ) {
    const page = await checkpointsAfter(sql, number, checkpointsPerQuery);
    const checkpoints = page.filter((checkpoint) => checkpoint.number <= newest);
    const last = checkpoints.at(-1);
    if (last === undefined) break;
    const past = Math.max(position, ...checkpoints.map(sizeOf));
    for await (const places of placesBetween(sql, position, past)) yield interleave(places, checkpoints);
    yield interleave([], checkpoints);
    position = past;
    number = last.number;
  }
  const isStillNewest = ((await latestCheckpoint(sql))?.number ?? 0) === newest;
  if (!isStillNewest) return;
  for await (const places of placesBetween(sql, position, Number.MAX_SAFE_INTEGER))
    yield interleave(places, []);
}

/**
 * Inserts each checkpoint after the places that it covers, and removes it from the list. Without places, returns all
 * that are left.
 */
function interleave(places: readonly PlaceRow[], checkpoints: CheckpointRow[]): LogItem[] {
  const items: LogItem[] = [];
  const takeCheckpoints = (upTo: number) => {
    for (let next = checkpoints[0]; next !== undefined && sizeOf(next) <= upTo; next = checkpoints[0]) {
      items.push({ kind: 'checkpoint', note: next.note });
      checkpoints.shift();
    }
  };
  for (const place of places) {
    takeCheckpoints(place.position);
    items.push({ kind: 'place', place });
  }
  if (places.length === 0) takeCheckpoints(Number.POSITIVE_INFINITY);
  return items;
}

/** Returns the signed size; the column, which anyone may have altered, only if the note can't be read. */
function sizeOf({ note, size }: CheckpointRow): number {
  try {
    return readCheckpoint(note).size;
  } catch {
    return size;
  }
}

async function* placesBetween(sql: Sql, from: number, below: number): AsyncGenerator<PlaceRow[]> {
  for (let position = from; position < below; ) {
    const places = await readPlaces(sql, position, below, placesPerQuery);
    if (places.length > 0) yield places;
    if (places.length < placesPerQuery) return;
    position = (places.at(-1)?.position ?? below) + 1;
  }
}
