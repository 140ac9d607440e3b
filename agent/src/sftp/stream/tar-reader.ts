// Reads a tar stream of a target. Nothing in it is believed: it is held to the bounds of what was asked for, its names are
// only compared, and whoever reads it opens nothing by them.
import {
  blockBytes,
  gnuLongName,
  isZero,
  paddingOf,
  readHeader,
  type TarHeader,
  textAt,
} from './tar-header.ts';

/** Longer than any path that Linux takes. */
const maxNameBytes = 8_192;

export interface TarMember extends TarHeader {
  bytes: Buffer;
}

export interface TarReaderOptions {
  /** The most that one member, and all of them together, may have. */
  maxMemberBytes: number;
  maxBytes: number;
  /** What the archive's length is a multiple of: zeros are behind its end. */
  recordBytes: number;
  onMember(member: TarMember): void;
}

/** What a target sends as a tar stream is none, or more than was asked for. */
export class BadTarStream extends Error {}

export class TarReader {
  readonly #options: TarReaderOptions;
  #rest: Buffer = Buffer.alloc(0);
  #header: TarHeader | undefined;
  /** Pieces of the member that is being read. */
  #pieces: Buffer[] = [];
  #missing = 0;
  #padding = 0;
  #longName: Buffer | undefined;
  #taken = 0;
  #zeroBlocks = 0;
  /** Bytes of the archive up to the piece that is read. */
  #archived = 0;
  /** Behind the end of the archive, to be skipped. */
  #missingOfRecord: number | undefined;

  constructor(options: TarReaderOptions) {
    this.#options = options;
  }

  /** Takes bytes; once the archive has ended, returns those that follow it. Throws a `BadTarStream`. */
  push(chunk: Buffer): Buffer | undefined {
    let at = this.#missingOfRecord === undefined ? this.#members(chunk) : 0;
    if (this.#missingOfRecord === undefined) return undefined;
    const skipped = Math.min(this.#missingOfRecord, chunk.length - at);
    // Of a tar that writes shorter records than it was told to: what follows would be waited for.
    if (chunk.subarray(at, at + skipped).some((byte) => byte !== 0))
      throw new BadTarStream('something else stands in the last record of the archive');
    this.#missingOfRecord -= skipped;
    at += skipped;
    return this.#missingOfRecord === 0 ? chunk.subarray(at) : undefined;
  }

  /** Returns how much of it belongs to members and the archive's end. */
  #members(chunk: Buffer): number {
    let at = 0;
    while (at < chunk.length) {
      if (this.#missing > 0) {
        const piece = chunk.subarray(at, at + this.#missing);
        this.#pieces.push(piece);
        this.#missing -= piece.length;
        at += piece.length;
        if (this.#missing === 0) this.#end();
        continue;
      }
      if (this.#padding > 0) {
        const skipped = Math.min(this.#padding, chunk.length - at);
        this.#padding -= skipped;
        at += skipped;
        continue;
      }
      const block = this.#block(chunk.subarray(at, at + blockBytes - this.#rest.length));
      at += block.taken;
      if (block.whole === undefined || !this.#begin(block.whole)) continue;
      const { recordBytes } = this.#options;
      this.#missingOfRecord = (recordBytes - ((this.#archived + at) % recordBytes)) % recordBytes;
      break;
    }
    this.#archived += at;
    return at;
  }

  /** A whole block from what was left over and what has come. */
  #block(piece: Buffer): { whole: Buffer | undefined; taken: number } {
    const whole = this.#rest.length === 0 ? piece : Buffer.concat([this.#rest, piece]);
    const isWhole = whole.length === blockBytes;
    this.#rest = isWhole ? Buffer.alloc(0) : whole;
    return { whole: isWhole ? whole : undefined, taken: piece.length };
  }

  /** Returns whether the archive has ended. */
  #begin(block: Buffer): boolean {
    if (isZero(block)) {
      this.#zeroBlocks += 1;
      return this.#zeroBlocks === 2;
    }
    const header = this.#zeroBlocks === 0 ? readHeader(block) : undefined;
    if (header === undefined) throw new BadTarStream('what came is no tar stream');
    const { maxMemberBytes, maxBytes } = this.#options;
    const most = header.type === gnuLongName ? maxNameBytes : maxMemberBytes;
    this.#taken += blockBytes + header.size;
    if (header.size < 0 || header.size > most || this.#taken > maxBytes)
      throw new BadTarStream('more came than was asked for');
    this.#header = { ...header, name: Buffer.from(header.name) };
    this.#missing = header.size;
    if (this.#missing === 0) this.#end();
    return false;
  }

  #end(): void {
    const header = this.#header as TarHeader;
    this.#padding = paddingOf(header.size);
    const bytes = this.#pieces.length === 1 ? (this.#pieces[0] as Buffer) : Buffer.concat(this.#pieces);
    this.#pieces = [];
    if (header.type === gnuLongName) {
      this.#longName = textAt(bytes, 0, bytes.length);
      return;
    }
    const name = this.#longName ?? header.name;
    this.#longName = undefined;
    this.#options.onMember({ ...header, name, bytes });
  }
}
