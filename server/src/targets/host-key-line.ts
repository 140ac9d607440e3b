// An OpenSSH public key line, as an agent reports it: `ssh-ed25519 AAAA… comment`.
import { createHash } from 'node:crypto';

export interface HostKeyLine {
  keyType: string;
  /** `SHA256:` and unpadded base64, as OpenSSH prints it. */
  fingerprint: string;
  /** The line without its comment. */
  line: string;
}

const maxLineLength = 16_384;

/** Reads a line. Returns undefined if it is not a public key, or its blob (RFC 4253 section 6.6) has another type. */
export function parseHostKeyLine(text: string): HostKeyLine | undefined {
  if (text.length > maxLineLength) return undefined;
  const [keyType, base64] = text.trim().split(/[ \t]+/);
  if (keyType === undefined || base64 === undefined) return undefined;
  if (!/^[a-z0-9@.-]{1,64}$/.test(keyType) || !/^[A-Za-z0-9+/]+={0,2}$/.test(base64)) return undefined;
  const blob = Buffer.from(base64, 'base64');
  if (blob.length < 4 || blob.toString('base64') !== base64) return undefined;
  const typeLength = blob.readUInt32BE(0);
  if (blob.length <= 4 + typeLength || blob.subarray(4, 4 + typeLength).toString('latin1') !== keyType)
    return undefined;
  const digest = createHash('sha256').update(blob).digest('base64').replaceAll('=', '');
  return { keyType, fingerprint: `SHA256:${digest}`, line: `${keyType} ${base64}` };
}
