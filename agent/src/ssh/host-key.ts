// SSH host keys as lines, in wire format and as fingerprints, and the signature algorithms of each type.
import { createHash } from 'node:crypto';
import type { ServerHostKeyAlgorithm } from 'ssh2';
import type { OfferedHostKey } from './ssh-error.ts';

// RSA keys sign with SHA-2 (RFC 8332); SHA-1 signatures (`ssh-rsa`) are not offered.
export const algorithmsByKeyType: Record<string, ServerHostKeyAlgorithm[]> = {
  'ssh-ed25519': ['ssh-ed25519'],
  'ecdsa-sha2-nistp256': ['ecdsa-sha2-nistp256'],
  'ecdsa-sha2-nistp384': ['ecdsa-sha2-nistp384'],
  'ecdsa-sha2-nistp521': ['ecdsa-sha2-nistp521'],
  'ssh-rsa': ['rsa-sha2-512', 'rsa-sha2-256'],
};

/** The same, with what old devices sign with. */
export const legacyAlgorithmsByKeyType: typeof algorithmsByKeyType = {
  ...algorithmsByKeyType,
  'ssh-rsa': [...(algorithmsByKeyType['ssh-rsa'] ?? []), 'ssh-rsa'],
  'ssh-dss': ['ssh-dss'],
};

/**
 * Returns the algorithms to offer: those of accepted keys first, so that a host with several keys presents one of them.
 */
export function hostKeyAlgorithms(
  accepted: readonly string[],
  byKeyType = algorithmsByKeyType,
): ServerHostKeyAlgorithm[] {
  const first = accepted.flatMap((line) => byKeyType[line.trim().split(/\s+/)[0] ?? ''] ?? []);
  return [...new Set([...first, ...Object.values(byKeyType).flat()])];
}

/** Returns the key of an OpenSSH public key line in wire format; undefined if the line isn't one. */
export function hostKeyBlob(line: string): Buffer | undefined {
  const [type, base64] = line.trim().split(/\s+/);
  if (!type || !base64) return undefined;
  const blob = Buffer.from(base64, 'base64');
  return keyType(blob) === type ? blob : undefined;
}

/** Returns the fingerprint (`SHA256:…`) of a key in wire format. */
export function hostKeyFingerprint(blob: Buffer): string {
  return `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
}

/** Reads a host key or host certificate as it is on the wire. */
export function offeredHostKey(blob: Buffer): OfferedHostKey {
  return { line: `${keyType(blob)} ${blob.toString('base64')}`, fingerprint: hostKeyFingerprint(blob) };
}

/** Returns the type of a key in wire format; '' if it names none. */
export function keyType(blob: Buffer): string {
  if (blob.length < 4) return '';
  const length = blob.readUInt32BE(0);
  return length > 64 ? '' : blob.toString('latin1', 4, 4 + length);
}
