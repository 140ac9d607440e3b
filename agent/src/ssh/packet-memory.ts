// Builds outgoing packets in one reused buffer. ssh2 allocates a buffer for each packet, encrypts it into another one
// and drops both, which causes half of the garbage collection during a file transfer. It also asks the system for the
// random padding of each packet.
import { createCipheriv, randomFillSync } from 'node:crypto';
import type { Client } from 'ssh2';

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

const headerBytes = 5;
const blockBytes = 16;
const minPaddingBytes = 4;
/** Larger than any packet of a channel (32 KiB); a longer packet gets memory of its own. */
const packet = Buffer.allocUnsafeSlow(40 * 1024);
const padding = Buffer.allocUnsafeSlow(8 * 1024);
let paddingAt = padding.length;

const changed = new WeakSet<object>();

/**
 * Applies this to a client that has logged in, and through the prototype to every AES-GCM connection of the process.
 * One buffer is enough for all because a packet is encrypted in the same turn in which it was made.
 */
export function reusePacketMemory(client: Client): void {
  const cipher = (client as unknown as { _protocol?: { _cipher?: Partial<GcmCipher> } })._protocol?._cipher;
  if (cipher?._encSSLName === undefined || !cipher._encSSLName.endsWith('-gcm')) return;
  const prototype = Object.getPrototypeOf(cipher) as GcmCipher;
  if (changed.has(prototype)) return;
  changed.add(prototype);
  prototype.allocPacket = allocPacket;
  prototype.encrypt = encrypt;
}

/**
 * Returns a packet: length, padding length, room for the payload, padding (RFC 4253 section 6, RFC 5647 section 7.2).
 */
function allocPacket(payloadBytes: number): Buffer {
  const withoutPadding = 1 + payloadBytes;
  let paddingBytes = blockBytes - (withoutPadding % blockBytes);
  if (paddingBytes < minPaddingBytes) paddingBytes += blockBytes;
  const bytes = 4 + withoutPadding + paddingBytes;
  const made = bytes <= packet.length ? packet.subarray(0, bytes) : Buffer.allocUnsafe(bytes);
  made.writeUInt32BE(bytes - 4, 0);
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
  const length = Buffer.from(made.subarray(0, 4));
  cipher.setAAD(length);
  const encrypted = cipher.update(made.subarray(4));
  cipher.final();
  // Before the writes: they may cause the next packet, which needs the next nonce.
  countInvocation(this._encIV);
  this.outSeqno = (this.outSeqno + 1) >>> 0;
  this._onWrite(length);
  this._onWrite(encrypted);
  this._onWrite(cipher.getAuthTag());
}

/** Counts a packet in the last 8 of the 12 bytes (RFC 5647 section 7.1). */
function countInvocation(iv: Buffer): void {
  for (let at = 11; at >= 4; at -= 1) {
    const next = ((iv[at] ?? 0) + 1) & 0xff;
    iv[at] = next;
    if (next !== 0) return;
  }
}
