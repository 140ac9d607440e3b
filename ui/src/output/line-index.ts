// Where every line of one attempt's output is, without its text: a few numbers per chunk. A line belongs to the chunk
// in which it begins. Each chunk is of one stream, so the lines of both streams keep their true order.
import { type StyleState, styleAfterBytes } from './style-carry.ts';

export type StreamName = 'stdout' | 'stderr';
/** Which rows a view shows. Markers are in every view. */
export type StreamFilter = 'both' | StreamName;
export type MarkerKind = 'gap' | 'truncated' | 'unreadable';

export interface RawChunk {
  seq: number;
  stream: StreamName;
  elapsedMs: number;
  bytes: Uint8Array;
}

export interface Entry {
  seq: number;
  kind: StreamName | 'marker';
  elapsedMs: number;
  rawLength: number;
  /** Whether the chunk's first bytes continue a line that began earlier. */
  continues: boolean;
  /** Number of rows that begin here. */
  rows: number;
  /** Style word in effect at the first byte. */
  style: number;
  /** Unfinished bytes of the stream before the first byte that may affect the style; rarely any. */
  carry?: Uint8Array;
  marker?: { kind: MarkerKind; text: string };
}

export interface RowPlace {
  entry: number;
  /** Index among the rows that begin in the entry. */
  line: number;
}

const newline = 10;

/** Returns the byte offsets at which rows begin in a chunk. */
export function rowStarts(bytes: Uint8Array, continues: boolean): Uint32Array {
  const starts: number[] = continues || bytes.length === 0 ? [] : [0];
  for (
    let at = bytes.indexOf(newline);
    at >= 0 && at + 1 < bytes.length;
    at = bytes.indexOf(newline, at + 1)
  ) {
    starts.push(at + 1);
  }
  return Uint32Array.from(starts);
}

export class LineIndex {
  readonly #entries: Entry[] = [];
  /** Number of rows before each entry, per view; one element more than the entries, for the total. */
  readonly #before: Record<StreamFilter, number[]> = { both: [0], stdout: [0], stderr: [0] };
  readonly #markersBefore: number[] = [0];
  readonly #open: Record<StreamName, boolean> = { stdout: false, stderr: false };
  readonly #style: Record<StreamName, StyleState> = { stdout: { style: 0 }, stderr: { style: 0 } };
  #bytes = 0;

  get entryCount(): number {
    return this.#entries.length;
  }

  get rawBytes(): number {
    return this.#bytes;
  }

  get lastSeq(): number {
    return this.#entries.at(-1)?.seq ?? 0;
  }

  /** Returns whether the newest line of the stream may still grow. */
  isOpen(stream: StreamName): boolean {
    return this.#open[stream];
  }

  entry(index: number): Entry {
    const entry = this.#entries[index];
    if (entry === undefined) throw new RangeError(`no output entry ${index}`);
    return entry;
  }

  /**
   * Adds the next chunk and returns the offsets at which rows begin in it.
   * @throws RangeError if the chunk's seq is not higher than the last one.
   */
  append(chunk: RawChunk): Uint32Array {
    if (chunk.seq <= this.lastSeq) throw new RangeError(`chunk ${chunk.seq} after ${this.lastSeq}`);
    const { stream, bytes } = chunk;
    const continues = this.#open[stream];
    const starts = rowStarts(bytes, continues);
    const style = this.#style[stream];
    this.#push({
      seq: chunk.seq,
      kind: stream,
      elapsedMs: chunk.elapsedMs,
      rawLength: bytes.length,
      continues,
      rows: starts.length,
      ...style,
    });
    this.#bytes += bytes.length;
    if (bytes.length > 0) this.#open[stream] = bytes[bytes.length - 1] !== newline;
    this.#style[stream] = styleAfterBytes(bytes, style);
    return starts;
  }

  /** Adds a row that says something about the output itself and covers everything up to `seq`. */
  mark(seq: number, kind: MarkerKind, text: string): void {
    this.#push({
      seq,
      kind: 'marker',
      elapsedMs: this.#entries.at(-1)?.elapsedMs ?? 0,
      rawLength: 0,
      continues: false,
      rows: 1,
      style: 0,
      marker: { kind, text },
    });
    // A line or escape sequence from before a gap doesn't continue after it.
    for (const stream of ['stdout', 'stderr'] as const) {
      this.#open[stream] = false;
      this.#style[stream] = { style: this.#style[stream].style };
    }
  }

  rowCount(filter: StreamFilter): number {
    return this.#before[filter].at(-1) ?? 0;
  }

  /** Number of lines, without markers: those have no line number. */
  get lineCount(): number {
    return this.rowCount('both') - (this.#markersBefore.at(-1) ?? 0);
  }

  place(filter: StreamFilter, row: number): RowPlace {
    if (row < 0 || row >= this.rowCount(filter)) throw new RangeError(`no row ${row}`);
    const before = this.#before[filter];
    const entry = lastAtMost(before, row);
    return { entry, line: row - (before[entry] ?? 0) };
  }

  /** Returns the number, from 1, of the line that begins at a place. It is the same in every view. */
  lineNumber(place: RowPlace): number {
    return (this.#before.both[place.entry] ?? 0) - (this.#markersBefore[place.entry] ?? 0) + place.line + 1;
  }

  /** Returns the row of a line number in a view; if the view leaves that line out, the next row that it has. */
  rowOfLine(filter: StreamFilter, lineNumber: number): number {
    let low = 0;
    let high = this.#entries.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.lineNumber({ entry: middle, line: 0 }) <= lineNumber) low = middle;
      else high = middle - 1;
    }
    const entry = this.#entries[low];
    if (entry === undefined) return 0;
    const inView = filter === 'both' || entry.kind === 'marker' || entry.kind === filter;
    const line = lineNumber - this.lineNumber({ entry: low, line: 0 });
    const row = (this.#before[filter][low] ?? 0) + (inView ? Math.max(0, Math.min(line, entry.rows - 1)) : 0);
    return Math.max(0, Math.min(row, this.rowCount(filter) - 1));
  }

  /** Returns the first entry of a stream in which a row begins, if any. */
  firstOf(stream: StreamName): number | undefined {
    const index = this.#entries.findIndex((entry) => entry.kind === stream && entry.rows > 0);
    return index < 0 ? undefined : index;
  }

  rowsBefore(filter: StreamFilter, entry: number): number {
    return this.#before[filter][entry] ?? 0;
  }

  /** Returns the index of the chunk with this seq, if any. */
  entryOfSeq(seq: number): number | undefined {
    let low = 0;
    let high = this.#entries.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const found = this.entry(middle).seq;
      if (found === seq && this.entry(middle).kind !== 'marker') return middle;
      if (found < seq) low = middle + 1;
      else high = middle - 1;
    }
    return undefined;
  }

  #push(entry: Entry) {
    this.#entries.push(entry);
    for (const filter of ['both', 'stdout', 'stderr'] as const) {
      const counts = filter === 'both' || entry.kind === 'marker' || entry.kind === filter;
      this.#before[filter].push(this.rowCount(filter) + (counts ? entry.rows : 0));
    }
    this.#markersBefore.push((this.#markersBefore.at(-1) ?? 0) + (entry.kind === 'marker' ? 1 : 0));
  }
}

/** Returns the index of the last value that is at most `wanted`, in an ascending list. Empty entries repeat a value. */
function lastAtMost(rising: number[], wanted: number): number {
  let low = 0;
  let high = rising.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((rising[middle] ?? 0) <= wanted) low = middle;
    else high = middle - 1;
  }
  return low;
}
