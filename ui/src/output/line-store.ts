// The text of one attempt's output in bounded memory. The index knows every line; only the newest and the most recently
// used chunks are held, and a chunk that was dropped is requested again when it is needed.
import {
  LineIndex,
  type MarkerKind,
  type RawChunk,
  rowStarts,
  type StreamFilter,
  type StreamName,
} from './line-index.ts';
import { readLine, type Span } from './sgr.ts';
import { mayStyle, type StyleState, styleAfterBytes } from './style-carry.ts';

export interface TextLine {
  kind: 'line';
  row: number;
  number: number;
  stream: StreamName;
  elapsedMs: number;
  spans: Span[];
  /** Bytes at the end that are not shown because the line is longer than `maxLineBytes`. */
  cutBytes: number;
  /** Number of earlier versions of this line that carriage returns overwrote. */
  redraws: number;
}
export interface MarkerLine {
  kind: 'marker';
  row: number;
  marker: MarkerKind;
  text: string;
}
/** A line whose text was dropped from memory and has to be read again. */
export interface PendingLine {
  kind: 'pending';
  row: number;
  number: number;
}
export type Line = TextLine | MarkerLine | PendingLine;

interface Resident {
  bytes: Uint8Array;
  starts: Uint32Array;
  /** Style at the start of each row; computed when a row of a styled chunk is first shown. */
  styles?: Uint32Array;
}

const decoder = new TextDecoder();

export const maxLineBytes = 16 * 1024;

export class LineStore {
  readonly index = new LineIndex();
  readonly #budgetBytes: number;
  readonly #resident = new Map<number, Resident>();
  #residentBytes = 0;
  readonly #wanted = new Set<number>();

  /** @param budgetBytes most raw bytes of text to hold; a single chunk larger than that is still held. */
  constructor(budgetBytes: number) {
    this.#budgetBytes = budgetBytes;
  }

  get residentBytes(): number {
    return this.#residentBytes;
  }

  append(chunk: RawChunk): void {
    const starts = this.index.append(chunk);
    this.#keep(this.index.entryCount - 1, { bytes: chunk.bytes, starts });
  }

  /** Puts back a chunk that was dropped and has been read again. */
  restore(chunk: RawChunk): void {
    const entry = this.index.entryOfSeq(chunk.seq);
    if (entry === undefined || this.#resident.has(entry)) return;
    this.#wanted.delete(entry);
    this.#keep(entry, {
      bytes: chunk.bytes,
      starts: rowStarts(chunk.bytes, this.index.entry(entry).continues),
    });
  }

  /** Returns, and clears, the seqs of chunks that were needed but not held, lowest first. */
  takeWanted(): number[] {
    const seqs = [...this.#wanted].map((entry) => this.index.entry(entry).seq).sort((a, b) => a - b);
    this.#wanted.clear();
    return seqs;
  }

  lines(filter: StreamFilter, from: number, to: number): Line[] {
    const last = Math.min(to, this.index.rowCount(filter));
    const lines: Line[] = [];
    for (let row = Math.max(0, from); row < last; row += 1) lines.push(this.line(filter, row));
    return lines;
  }

  line(filter: StreamFilter, row: number): Line {
    const place = this.index.place(filter, row);
    const entry = this.index.entry(place.entry);
    if (entry.kind === 'marker') {
      return { kind: 'marker', row, marker: entry.marker?.kind ?? 'gap', text: entry.marker?.text ?? '' };
    }
    const number = this.index.lineNumber(place);
    const gathered = this.#gather(place.entry, place.line);
    if (gathered === undefined) return { kind: 'pending', row, number };
    const { visible, redraws } = lastDrawing(decoder.decode(gathered.bytes));
    const { spans } = readLine(visible, this.#styleAt(place.entry, place.line));
    return {
      kind: 'line',
      row,
      number,
      stream: entry.kind,
      elapsedMs: entry.elapsedMs,
      spans,
      cutBytes: gathered.cutBytes,
      redraws,
    };
  }

  /** Returns the line's text, escape sequences included, for searching; undefined while it is not held. */
  text(entry: number, line: number): string | undefined {
    const gathered = this.#gather(entry, line);
    return gathered === undefined ? undefined : decoder.decode(gathered.bytes);
  }

  /**
   * Returns the rows of an entry that may contain `needle`, or undefined while the chunk is not held. If escape
   * sequences or carriage returns make the shown text differ from the bytes, that is every row.
   */
  rowsWith(entry: number, needle: string): number[] | undefined {
    const held = this.#touch(entry);
    if (held === undefined) return undefined;
    const rows = Array.from(held.starts, (_, line) => line);
    if (rows.length < 2 || mayStyle(held.bytes) || held.bytes.includes(0x0d)) return rows;
    const last = rows.length - 1;
    const found = rowsContaining(held, needle.toLowerCase());
    // The last line may continue in the next chunk.
    if (found.at(-1) !== last) found.push(last);
    return found;
  }

  /** Returns whether the entry's chunk is held; if not, marks it as wanted. */
  has(entry: number): boolean {
    return this.index.entry(entry).kind === 'marker' || this.#touch(entry) !== undefined;
  }

  /** Returns a row's bytes: from the chunk in which it begins, through later chunks of its stream, to its newline. */
  #gather(entryIndex: number, line: number): { bytes: Uint8Array; cutBytes: number } | undefined {
    const first = this.#touch(entryIndex);
    if (first === undefined) return undefined;
    const from = first.starts[line] ?? 0;
    const nextRow = first.starts[line + 1];
    const stream = this.index.entry(entryIndex).kind;
    if (nextRow !== undefined) return cut(first.bytes.subarray(from, nextRow - 1));
    const whole = first.bytes.subarray(from);
    if (whole[whole.length - 1] === 10) return cut(whole.subarray(0, -1));
    const parts = [whole];
    let length = whole.length;
    for (let at = entryIndex + 1; at < this.index.entryCount; at += 1) {
      const entry = this.index.entry(at);
      if (entry.kind === 'marker') break;
      if (entry.kind !== stream) continue;
      if (length > maxLineBytes) {
        // Only count the rest: it may be gigabytes without a newline.
        if (entry.rows > 0) break;
        length += entry.rawLength;
        continue;
      }
      const held = this.#touch(at);
      if (held === undefined) return undefined;
      const end = held.bytes.indexOf(10);
      parts.push(end < 0 ? held.bytes : held.bytes.subarray(0, end));
      length += end < 0 ? held.bytes.length : end;
      if (end >= 0) break;
    }
    return cut(joined(parts), length);
  }

  #styleAt(entryIndex: number, line: number): number {
    const entry = this.index.entry(entryIndex);
    const held = this.#resident.get(entryIndex);
    if (held === undefined || (entry.carry === undefined && !mayStyle(held.bytes))) return entry.style;
    held.styles ??= rowStyles(held, entry);
    return held.styles[line] ?? entry.style;
  }

  #touch(entry: number): Resident | undefined {
    const held = this.#resident.get(entry);
    if (held === undefined) {
      this.#wanted.add(entry);
      return undefined;
    }
    this.#resident.delete(entry);
    this.#resident.set(entry, held);
    return held;
  }

  #keep(entry: number, resident: Resident) {
    this.#resident.set(entry, resident);
    this.#residentBytes += resident.bytes.length;
    for (const [oldest, held] of this.#resident) {
      if (this.#residentBytes <= this.#budgetBytes || oldest === entry) break;
      this.#resident.delete(oldest);
      this.#residentBytes -= held.bytes.length;
    }
  }
}

function cut(bytes: Uint8Array, length = bytes.length): { bytes: Uint8Array; cutBytes: number } {
  if (length <= maxLineBytes) return { bytes, cutBytes: 0 };
  let end = Math.min(maxLineBytes, bytes.length);
  // Don't cut inside a UTF-8 character.
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return { bytes: bytes.subarray(0, end), cutBytes: length - end };
}

function joined(parts: Uint8Array[]): Uint8Array {
  const first = parts[0];
  if (parts.length === 1 && first !== undefined) return first;
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Returns what a terminal would show of a line redrawn with carriage returns, and how often it was redrawn. */
function lastDrawing(text: string): { visible: string; redraws: number } {
  if (!text.includes('\r')) return { visible: text, redraws: 0 };
  const drawings = text.split('\r').filter((drawing) => drawing !== '');
  return { visible: drawings.at(-1) ?? '', redraws: Math.max(0, drawings.length - 1) };
}

function rowStyles({ bytes, starts }: Resident, before: StyleState): Uint32Array {
  const styles = new Uint32Array(starts.length);
  let current = before;
  let from = 0;
  starts.forEach((start, line) => {
    if (start > from) current = styleAfterBytes(bytes.subarray(from, start), current);
    styles[line] = current.style;
    from = start;
  });
  return styles;
}

/** Returns the rows of a chunk that contain `needle` (lower case), ignoring case; ascending, each once. */
function rowsContaining({ bytes, starts }: Resident, needle: string): number[] {
  const rows: number[] = [];
  const from = starts[0] ?? 0;
  const text = decoder.decode(bytes.subarray(from)).toLowerCase();
  let line = -1;
  let lineEnd = -1;
  let at = text.indexOf(needle);
  while (at >= 0) {
    // Count lines in the decoded text: its offsets differ from those of the bytes.
    while (lineEnd < at) {
      line += 1;
      const end = text.indexOf('\n', lineEnd + 1);
      lineEnd = end < 0 ? text.length : end;
    }
    rows.push(line);
    at = text.indexOf(needle, Math.max(at + 1, lineEnd));
  }
  return rows;
}
