// The sealed log in its own order: places, and after those that it covers each checkpoint. Short queries one after
// another, so that nothing is held up however long the reader takes.
import { readCheckpoint } from '@opsconductor/protocol/audit';
import { type CheckpointRow, checkpointsAfter, latestCheckpoint } from '../store/audit/audit-seals.ts';
import { type PlaceRow, readPlaces } from '../store/audit/audit-verification.ts';
import type { Sql } from '../store/database/connection.ts';

export type LogItem = { kind: 'place'; place: PlaceRow } | { kind: 'checkpoint'; note: string };

const placesPerQuery = 1_000;
const checkpointsPerQuery = 500;

/**
 * Everything up to what is the newest checkpoint at the beginning, a batch for each query. Places after it follow
 * only where no later checkpoint came about meanwhile: no checkpoint covers them then.
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

/** Puts each checkpoint after the places that it covers, and takes it from the list. Without places: all that is left. */
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

/** As it was signed; the column, which anybody may have altered, only where the note can't be read. */
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
