// Encodes and decodes the packets of SFTP version 3 (draft-ietf-secsh-filexfer-02), which nearly all servers speak.
import { bytesOf, nameOf } from '../../tree/name-bytes.ts';

export const requests = {
  init: 1,
  open: 3,
  close: 4,
  read: 5,
  write: 6,
  lstat: 7,
  fstat: 8,
  setstat: 9,
  fsetstat: 10,
  opendir: 11,
  readdir: 12,
  remove: 13,
  mkdir: 14,
  rmdir: 15,
  realpath: 16,
  stat: 17,
  rename: 18,
  readlink: 19,
  symlink: 20,
  extended: 200,
} as const;

export const replies = {
  version: 2,
  status: 101,
  handle: 102,
  data: 103,
  name: 104,
  attributes: 105,
  extended: 201,
} as const;

// Flags of attributes (section 5).
const flags = { size: 0x1, owner: 0x2, mode: 0x4, times: 0x8, extended: 0x80000000 } as const;

/** Attributes of a file; servers may leave out any of them. */
export interface FileAttributes {
  size?: number;
  uid?: number;
  gid?: number;
  mode?: number;
  mtime?: number;
}

/** Attributes to set; user and group must be given together, and so must both times. */
export interface SetAttributes extends FileAttributes {
  atime?: number;
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function uint64(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

/** Encodes a string: its length, then its bytes. */
export function string(value: string | Buffer): Buffer {
  const bytes = typeof value === 'string' ? bytesOf(value) : value;
  return Buffer.concat([uint32(bytes.length), bytes]);
}

export function attributes({ size, uid, gid, mode, atime, mtime }: SetAttributes): Buffer {
  let said = 0;
  const fields: Buffer[] = [];
  if (size !== undefined) {
    said |= flags.size;
    fields.push(uint64(size));
  }
  if (uid !== undefined && gid !== undefined) {
    said |= flags.owner;
    fields.push(uint32(uid), uint32(gid));
  }
  if (mode !== undefined) {
    said |= flags.mode;
    fields.push(uint32(mode));
  }
  if (atime !== undefined && mtime !== undefined) {
    said |= flags.times;
    fields.push(uint32(timeWithin(atime)), uint32(timeWithin(mtime)));
  }
  return Buffer.concat([uint32(said), ...fields]);
}

/** Version 3 has unsigned seconds since 1970, so times until 2106. */
function timeWithin(seconds: number): number {
  return Math.min(Math.max(seconds, 0), 0xffff_ffff);
}

/** A packet that ends before its fields do. */
class ShortPacket extends Error {}

/** Reads the fields of a packet in order. Throws `ShortPacket` if it ends too early. */
export class PacketReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  uint32(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  uint64(): number {
    const at = this.#take(8);
    return this.#bytes.readUInt32BE(at) * 2 ** 32 + this.#bytes.readUInt32BE(at + 4);
  }

  string(): Buffer {
    const length = this.uint32();
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  name(): string {
    return nameOf(this.string());
  }

  attributes(): FileAttributes {
    const said = this.uint32();
    const found: FileAttributes = {};
    if ((said & flags.size) !== 0) found.size = this.uint64();
    if ((said & flags.owner) !== 0) {
      found.uid = this.uint32();
      found.gid = this.uint32();
    }
    if ((said & flags.mode) !== 0) found.mode = this.uint32();
    if ((said & flags.times) !== 0) {
      this.uint32();
      found.mtime = this.uint32();
    }
    if ((said & flags.extended) !== 0)
      for (let left = this.uint32(); left > 0; left -= 1) {
        this.string();
        this.string();
      }
    return found;
  }

  #take(length: number): number {
    const at = this.#at;
    if (at + length > this.#bytes.length) throw new ShortPacket('a packet is too short');
    this.#at += length;
    return at;
  }
}
