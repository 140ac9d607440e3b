// Reads a tar stream from a target without trusting it: the stream is limited to what was asked for, and its names are
// only compared, never used to open anything.
import {
  blockBytes,
  gnuLongName,
  isZero,
  paddingOf,
  readHeader,
  type TarHeader,
  textAt,
} from './tar-header.ts';

/** Longer than any path that Linux accepts. */
const maxNameBytes = 8_192;

export interface TarMember extends TarHeader {
  bytes: Buffer;
}

export interface TarReaderOptions {
  /** Limits on one member and, below, on all of them together with their headers. */
  maxMemberBytes: number;
  maxBytes: number;
  /** The archive's length is a multiple of this; zeros fill the rest after its end. */
  recordBytes: number;
  onMember(member: TarMember): void;
}

/** What a target sent isn't a tar stream, or is more than was asked for. */
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
  /** Bytes of the archive before the current chunk. */
  #archived = 0;
  /** Bytes after the end of the archive that are still to be skipped; undefined before its end. */
  #missingOfRecord: number | undefined;

  constructor(options: TarReaderOptions) {
    this.#options = options;
  }

  /** Takes bytes; once the archive has ended, returns those that follow it. Throws a `BadTarStream`. */
  push(chunk: Buffer): Buffer | undefined {
    let at = this.#missingOfRecord === undefined ? this.#members(chunk) : 0;
    if (this.#missingOfRecord === undefined) return undefined;
    const skipped = Math.min(this.#missingOfRecord, chunk.length - at);
    // Anything but zeros comes from a tar that writes shorter records than told; waiting for the rest would never end.
    if (chunk.subarray(at, at + skipped).some((byte) => byte !== 0))
      throw new BadTarStream('the last record of the archive contains something else');
    this.#missingOfRecord -= skipped;
    at += skipped;
    return this.#missingOfRecord === 0 ? chunk.subarray(at) : undefined;
  }

  /** Reads members. Returns how many bytes of the chunk belong to members and the archive's end. */
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

  /** Completes a block from what was left over and what has arrived; `whole` is undefined if it is still incomplete. */
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
    if (header === undefined) throw new BadTarStream('what arrived is not a tar stream');
    const { maxMemberBytes, maxBytes } = this.#options;
    const most = header.type === gnuLongName ? maxNameBytes : maxMemberBytes;
    this.#taken += blockBytes + header.size;
    if (header.size < 0 || header.size > most || this.#taken > maxBytes)
      throw new BadTarStream('more arrived than was asked for');
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
