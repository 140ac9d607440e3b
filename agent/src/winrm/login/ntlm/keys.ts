// The keys and responses of NTLMv2 (MS-NLMP 3.3.2, 3.4.5).
import { createHash, createHmac } from 'node:crypto';
import { md4 } from './md4.ts';
import { flags } from './messages.ts';

export function hmacMd5(key: Buffer, ...parts: Buffer[]): Buffer {
  const hmac = createHmac('md5', key);
  for (const part of parts) hmac.update(part);
  return hmac.digest();
}

function md5(...parts: Buffer[]): Buffer {
  const hash = createHash('md5');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** NTOWFv2. The user's name counts in upper case, the domain as it is written. */
export function responseKey(user: string, domain: string, password: string): Buffer {
  const hash = md4(Buffer.from(password, 'utf16le'));
  return hmacMd5(hash, Buffer.from(upperCase(user) + domain, 'utf16le'));
}

/** Converts like Windows, one unit to one unit, so that `ß` stays. */
function upperCase(text: string): string {
  return Array.from(text, (unit) => {
    const upper = unit.toUpperCase();
    return upper.length === unit.length ? upper : unit;
  }).join('');
}

export interface ResponseInput {
  key: Buffer;
  serverChallenge: Buffer;
  clientChallenge: Buffer;
  /** FILETIME, 8 bytes. */
  timestamp: Buffer;
  /** Attribute pairs, including their end. */
  pairs: Buffer;
}

/** Returns the answer to a server's challenge, and the key that both sides have from it (MS-NLMP section 3.3.2). */
export function ntlmv2Response(input: ResponseInput): { response: Buffer; sessionBaseKey: Buffer } {
  const { key, serverChallenge, clientChallenge, timestamp, pairs } = input;
  const head = Buffer.from([1, 1, 0, 0, 0, 0, 0, 0]);
  const blob = Buffer.concat([head, timestamp, clientChallenge, Buffer.alloc(4), pairs, Buffer.alloc(4)]);
  const proof = hmacMd5(key, serverChallenge, blob);
  return { response: Buffer.concat([proof, blob]), sessionBaseKey: hmacMd5(key, proof) };
}

export type Direction = 'client-to-server' | 'server-to-client';

/** Returns the key that signs messages in one direction (MS-NLMP section 3.4.5.2). */
export function signingKey(sessionKey: Buffer, direction: Direction): Buffer {
  return md5(sessionKey, Buffer.from(`session key to ${direction} signing key magic constant\0`, 'latin1'));
}

/** Returns the key that encrypts messages in one direction, as strong as was agreed on (MS-NLMP section 3.4.5.3). */
export function sealingKey(sessionKey: Buffer, direction: Direction, agreed: number): Buffer {
  const bytes = agreed & flags.key128 ? 16 : agreed & flags.key56 ? 7 : 5;
  return md5(
    sessionKey.subarray(0, bytes),
    Buffer.from(`session key to ${direction} sealing key magic constant\0`, 'latin1'),
  );
}
