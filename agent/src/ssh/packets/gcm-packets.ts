// Encrypts and decrypts AES-GCM packets in place of ssh2, whose version without compiled code keeps the garbage
// collector busy during a file transfer: it makes each packet in new memory, encrypts it into other new memory, and
// decrypts one that arrives in two reads in three pieces. It also asks the system for the padding of each packet.
import { createCipheriv, createDecipheriv, randomFillSync } from 'node:crypto';
import type { Client } from 'ssh2';
import { letBeFreed } from './packet-memory.ts';

/** The parts used here of ssh2 1.17's AES-GCM cipher (RFC 5647), in its version without compiled code. */
interface GcmCipher {
  outSeqno: number;
  readonly _dead: boolean;
  readonly _encSSLName: 'aes-128-gcm' | 'aes-256-gcm';
  readonly _encKey: Buffer;
  readonly _encIV: Buffer;
  _onWrite(bytes: Buffer): void;
  allocPacket(payloadBytes: number): Buffer;
  encrypt(packet: Buffer): void;
}

/** The same for the other direction. */
interface GcmDecipher {
  inSeqno: number;
  readonly _decipherSSLName: GcmCipher['_encSSLName'];
  readonly _decipherKey: Buffer;
  readonly _decipherIV: Buffer;
  /** Length of the packet that is arriving, and how many bytes of that field and of the packet with its tag have. */
  _len: number;
  _lenBytes: number;
  _pktLen: number;
  /** A packet whose end has not arrived, with its tag. */
  _packet: Buffer | null;
  /** Returns something if what follows is not for this cipher, after an exchange of keys. */
  _onPayload(payload: Buffer): number | false | undefined;
  decrypt(data: Buffer, at: number, end: number): number | undefined;
}

const lengthBytes = 4;
const headerBytes = 5;
const blockBytes = 16;
const tagBytes = 16;
const minPaddingBytes = 4;
/** With its length and tag, a packet has at most this many bytes (RFC 4253, section 6.1). */
const maxPacketBytes = 35_000;
/** What precedes the data in the packets of a channel that have any, by type (RFC 4254, section 5.2). */
const dataHeadBytes: Readonly<Record<number, number>> = { 94: 9, 95: 13 };
/** Larger than any packet of a channel (32 KiB); a longer packet gets memory of its own. */
const packet = Buffer.allocUnsafeSlow(40 * 1024);
const padding = Buffer.allocUnsafeSlow(8 * 1024);
let paddingAt = padding.length;

const changed = new WeakSet<object>();

/**
 * Applies this to a client that has just agreed on keys, and through the prototypes to every AES-GCM connection of the
 * process. Not later: ssh2's decryption leaves other things behind in the middle of a packet than this one. One buffer
 * is enough for all because a packet is encrypted in the same turn in which it was made.
 */
export function takeOverGcm(client: Client): void {
  const { _protocol: protocol } = client as unknown as {
    _protocol?: { _cipher?: Partial<GcmCipher>; _decipher?: Partial<GcmDecipher> };
  };
  if (protocol?._cipher?._encSSLName?.endsWith('-gcm') === true && isUnchanged(protocol._cipher))
    Object.assign(Object.getPrototypeOf(protocol._cipher), { allocPacket, encrypt });
  if (protocol?._decipher?._decipherSSLName?.endsWith('-gcm') === true && isUnchanged(protocol._decipher))
    Object.assign(Object.getPrototypeOf(protocol._decipher), { decrypt });
}

function isUnchanged(instance: object): boolean {
  const prototype = Object.getPrototypeOf(instance);
  if (changed.has(prototype)) return false;
  changed.add(prototype);
  return true;
}

/**
 * Returns a packet: length, padding length, room for the payload, padding (RFC 4253 section 6, RFC 5647 section 7.2).
 */
function allocPacket(payloadBytes: number): Buffer {
  const withoutPadding = 1 + payloadBytes;
  let paddingBytes = blockBytes - (withoutPadding % blockBytes);
  if (paddingBytes < minPaddingBytes) paddingBytes += blockBytes;
  const bytes = lengthBytes + withoutPadding + paddingBytes;
  const made = bytes <= packet.length ? packet.subarray(0, bytes) : Buffer.allocUnsafe(bytes);
  made.writeUInt32BE(bytes - lengthBytes, 0);
  made[4] = paddingBytes;
  if (paddingAt + paddingBytes > padding.length) {
    randomFillSync(padding);
    paddingAt = 0;
  }
  made.set(padding.subarray(paddingAt, paddingAt + paddingBytes), headerBytes + payloadBytes);
  paddingAt += paddingBytes;
  return made;
}

function encrypt(this: GcmCipher, made: Buffer): void {
  if (this._dead) return;
  const cipher = createCipheriv(this._encSSLName, this._encKey, this._encIV);
  const length = Buffer.from(made.subarray(0, lengthBytes));
  cipher.setAAD(length);
  const encrypted = cipher.update(made.subarray(lengthBytes));
  cipher.final();
  // Before the writes: they may cause the next packet, which needs the next nonce.
  countInvocation(this._encIV);
  this.outSeqno = (this.outSeqno + 1) >>> 0;
  this._onWrite(length);
  letBeFreed(encrypted);
  this._onWrite(encrypted);
  this._onWrite(cipher.getAuthTag());
}

/**
 * Takes the bytes from `at` to `end`. Returns how many of `data` it has taken if those after them are for another
 * cipher. Throws if a packet is not what the server sent; nothing of it is passed on then.
 */
function decrypt(this: GcmDecipher, data: Buffer, at: number, end: number): number | undefined {
  for (let next = at; next < end; ) {
    if (this._lenBytes < lengthBytes) {
      this._len = ((this._len << 8) | (data[next] ?? 0)) >>> 0;
      this._lenBytes += 1;
      next += 1;
      if (this._lenBytes === lengthBytes) requirePossible(this._len);
      continue;
    }
    const wholeBytes = this._len + tagBytes;
    const taken = Math.min(wholeBytes - this._pktLen, end - next);
    const piece = data.subarray(next, next + taken);
    next += taken;
    if (taken < wholeBytes) {
      this._packet ??= Buffer.allocUnsafe(wholeBytes);
      this._packet.set(piece, this._pktLen);
      this._pktLen += taken;
      if (this._pktLen < wholeBytes) return undefined;
    }
    const opened = open(this, this._packet ?? piece);
    this._len = 0;
    this._lenBytes = 0;
    this._pktLen = 0;
    this._packet = null;
    const rest = this._onPayload(payloadOf(opened));
    if (rest !== undefined) return rest === false ? next : rest;
  }
  return undefined;
}

function requirePossible(bytes: number): void {
  if (bytes + lengthBytes + tagBytes > maxPacketBytes || bytes < blockBytes || bytes % blockBytes !== 0)
    throw new Error('Bad packet length');
}

function payloadOf(opened: Buffer): Buffer {
  const end = opened.length - (opened[0] ?? 0);
  if (end < 1 || opened.length - end < minPaddingBytes) throw new Error('Bad padding length');
  return opened.subarray(1, end);
}

/** Returns padding length, payload and padding. Throws if the tag is wrong. */
function open(from: GcmDecipher, sealed: Buffer): Buffer {
  const decipher = createDecipheriv(from._decipherSSLName, from._decipherKey, from._decipherIV);
  const length = Buffer.allocUnsafe(lengthBytes);
  length.writeUInt32BE(from._len);
  decipher.setAAD(length);
  decipher.setAuthTag(sealed.subarray(from._len));
  const opened = decipher.update(sealed.subarray(0, from._len));
  decipher.final();
  const headBytes = dataHeadBytes[opened[1] ?? 0];
  if (headBytes !== undefined) letBeFreed(opened, opened.length - 1 - headBytes - (opened[0] ?? 0));
  countInvocation(from._decipherIV);
  from.inSeqno = (from.inSeqno + 1) >>> 0;
  return opened;
}

/** Counts a packet in the last 8 of the 12 bytes (RFC 5647 section 7.1). */
function countInvocation(iv: Buffer): void {
  for (let at = 11; at >= 4; at -= 1) {
    const next = ((iv[at] ?? 0) + 1) & 0xff;
    iv[at] = next;
    if (next !== 0) return;
  }
}
