// OpenSSH host certificates (PROTOCOL.certkeys): parses them and decides whether one is accepted for a host.
import { type HostAuthority, matchesHostPattern, matchesHostPatternList } from '@opsconductor/protocol';
import { hostKeyBlob, hostKeyFingerprint } from '../host-key.ts';
import { verifySignature } from './verify-signature.ts';
import { WireError, WireReader, wireString } from './wire-reader.ts';

export interface Certificate {
  /** The certified host key in wire format, as the host would present it without a certificate. */
  plainKey: Buffer;
  isHost: boolean;
  keyId: string;
  principals: string[];
  /** Seconds since 1970. */
  validAfter: bigint;
  validBefore: bigint;
  criticalOptions: string[];
  /** The authority's key, in wire format. */
  authority: Buffer;
  signature: Buffer;
  /** The bytes that the signature covers. */
  signed: Buffer;
}

/** Ends the name of each certificate's type and algorithm. */
export const certificateSuffix = '-cert-v01@openssh.com';
const publicParts: Record<string, number> = {
  'ssh-ed25519': 1,
  'ecdsa-sha2-nistp256': 2,
  'ecdsa-sha2-nistp384': 2,
  'ecdsa-sha2-nistp521': 2,
  'ssh-rsa': 2,
};
const hostCertificateType = 2;

/**
 * Returns the certificate in a presented key; undefined for a plain key.
 *
 * @throws WireError if the certificate can't be read
 */
export function readCertificate(blob: Buffer): Certificate | undefined {
  const reader = new WireReader(blob);
  const type = reader.text();
  if (!type.endsWith(certificateSuffix)) return undefined;
  const plainType = type.slice(0, -certificateSuffix.length);
  const parts = publicParts[plainType];
  if (parts === undefined) throw new WireError('it certifies a key of an unknown type');
  reader.string();
  const publicKey = Array.from({ length: parts }, () => wireString(reader.string()));
  reader.uint64();
  const isHost = reader.uint32() === hostCertificateType;
  const keyId = reader.text();
  const principals = reader.strings();
  const validAfter = reader.uint64();
  const validBefore = reader.uint64();
  const options = reader.strings();
  reader.string();
  reader.string();
  const authority = reader.string();
  const signed = blob.subarray(0, reader.position);
  const signature = reader.string();
  reader.end();
  return {
    plainKey: Buffer.concat([wireString(plainType), ...publicKey]),
    isHost,
    keyId,
    principals,
    validAfter,
    validBefore,
    criticalOptions: options.filter((_, index) => index % 2 === 0),
    authority,
    signature,
    signed,
  };
}

/**
 * Returns why a certificate is not accepted for this host, as words that follow "its certificate"; undefined if it is.
 */
export function refuseCertificate(
  certificate: Certificate,
  host: string,
  authorities: readonly HostAuthority[],
  nowMs: number,
): string | undefined {
  const name = host.toLowerCase();
  const signers = authorities.filter(({ key }) => hostKeyBlob(key)?.equals(certificate.authority) === true);
  if (signers.length === 0) {
    return `is signed by ${hostKeyFingerprint(certificate.authority)}, which is no host authority of this segment`;
  }
  if (!signers.some(({ hosts }) => matchesHostPatternList(name, hosts))) {
    return `is signed by a host authority that may not speak for ${host}`;
  }
  if (!certificate.isHost) return 'is one for users, not for hosts';
  const now = BigInt(Math.floor(nowMs / 1_000));
  if (now < certificate.validAfter) return `is not valid before ${moment(certificate.validAfter)}`;
  if (now >= certificate.validBefore) return `expired at ${moment(certificate.validBefore)}`;
  if (!certificate.principals.some((principal) => matchesHostPattern(name, principal))) {
    return `names ${list(certificate.principals)}, not ${host}`;
  }
  if (certificate.criticalOptions.length > 0) {
    return `has unknown critical options: ${list(certificate.criticalOptions)}`;
  }
  const isGenuine = verifySignature(certificate.authority, certificate.signature, certificate.signed);
  return isGenuine ? undefined : 'has a signature that its authority did not make';
}

/** Returns a time of a certificate for people; one that is never reached has no date. */
export function moment(seconds: bigint): string {
  const ms = Number(seconds) * 1_000;
  return ms <= 8.64e15 ? new Date(ms).toISOString() : 'the end of time';
}

function list(names: readonly string[]): string {
  if (names.length === 0) return 'no host';
  return names
    .slice(0, 5)
    .map((name) => name.replace(/[^\x20-\x7e]/g, '?').slice(0, 100))
    .join(', ');
}
