// Packets are made in one piece of memory. ssh2 makes each in a new one, encrypts it into another and drops it: at the speed of
// a file's transfer half of what the garbage collector is called for. It also asks the system for each packet's padding.
import { createCipheriv, randomFillSync } from 'node:crypto';
import type { Client } from 'ssh2';

/** What is touched here of what ssh2 1.17 encrypts with by AES in Galois/Counter Mode (RFC 5647), where it has no compiled part. */
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
/** Above any packet of a channel (32 KiB); a longer one has memory of its own. */
const packet = Buffer.allocUnsafeSlow(40 * 1024);
const padding = Buffer.allocUnsafeSlow(8 * 1024);
let paddingAt = padding.length;

const changed = new WeakSet<object>();

/**
 * For a client that has logged in, and with it for all of this process whose cipher is AES-GCM: a packet is encrypted in the turn
 * in which it was made, so that one piece of memory does for all.
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

/** The length, the padding's length, room for the payload, the padding (RFC 4253 section 6, RFC 5647 section 7.2). */
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
  // What is written may make the next packet, with the next nonce.
  countInvocation(this._encIV);
  this.outSeqno = (this.outSeqno + 1) >>> 0;
  this._onWrite(length);
  this._onWrite(encrypted);
  this._onWrite(cipher.getAuthTag());
}

/** The last 8 of 12 bytes count the packets (RFC 5647 section 7.1). */
function countInvocation(iv: Buffer): void {
  for (let at = 11; at >= 4; at -= 1) {
    const next = ((iv[at] ?? 0) + 1) & 0xff;
    iv[at] = next;
    if (next !== 0) return;
  }
}
