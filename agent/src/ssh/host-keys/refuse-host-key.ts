// Strict host key checking: a key is trusted if it was accepted before or an authority has certified it, never because
// it is the first one seen.
import { timingSafeEqual } from 'node:crypto';
import type { HostAuthority } from '@opsconductor/protocol';
import { hostKeyBlob, hostKeyFingerprint, keyType, offeredHostKey } from '../host-key.ts';
import { type OfferedHostKey, SshError } from '../ssh-error.ts';
import { readCertificate, refuseCertificate } from './host-certificate.ts';
import { WireError } from './wire-reader.ts';

/** What makes a host's key trusted. */
export interface HostTrust {
  /** Accepted keys: OpenSSH lines, or a fingerprint that a person entered before any connection had shown the key. */
  hostKeys: readonly string[];
  hostAuthorities?: readonly HostAuthority[];
  /** Fingerprints that are refused, even if the key is accepted or certified. */
  revokedHostKeys?: readonly string[];
}

/**
 * Returns why a presented key is refused; undefined if it was accepted before, or a host authority has certified it for
 * this host. If a certificate can't be accepted, the key inside it is judged by itself.
 */
export function refuseHostKey(
  host: string,
  presented: Buffer,
  trust: HostTrust,
  nowMs = Date.now(),
): SshError | undefined {
  const { blob, isCertified, problem } = plainKeyOf(host, presented, trust, nowMs);
  const offered = offeredHostKey(blob);
  if (trust.revokedHostKeys?.includes(offered.fingerprint) === true) return revoked(host, offered);
  if (isCertified) return undefined;
  const refused = refusePlainKey(host, blob, offered, trust.hostKeys);
  if (refused === undefined || problem === undefined) return refused;
  return new SshError({
    reason: refused.reason,
    message: `${refused.message} Its certificate ${problem}.`,
    advice: `${refused.advice} Or have a host authority of the segment certify it for ${host}.`,
    offeredHostKey: offered,
  });
}

/** Returns the key inside a certificate, or a plain key unchanged. */
export function plainHostKey(presented: Buffer): Buffer {
  try {
    return readCertificate(presented)?.plainKey ?? presented;
  } catch {
    return presented;
  }
}

/** Returns the key that a host signs with, and whether its certificate is accepted, or why not. */
function plainKeyOf(
  host: string,
  presented: Buffer,
  { hostAuthorities = [], revokedHostKeys = [] }: HostTrust,
  nowMs: number,
): { blob: Buffer; isCertified: boolean; problem?: string } {
  try {
    const certificate = readCertificate(presented);
    if (certificate === undefined) return { blob: presented, isCertified: false };
    const blob = certificate.plainKey;
    if (revokedHostKeys.includes(hostKeyFingerprint(certificate.authority))) {
      return { blob, isCertified: false, problem: 'is signed by a host authority that was revoked' };
    }
    try {
      const problem = refuseCertificate(certificate, host, hostAuthorities, nowMs);
      return problem === undefined ? { blob, isCertified: true } : { blob, isCertified: false, problem };
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      return { blob, isCertified: false, problem: `can’t be read: ${error.message}` };
    }
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return { blob: presented, isCertified: false, problem: `can’t be read: ${error.message}` };
  }
}

function revoked(host: string, offered: OfferedHostKey): SshError {
  return new SshError({
    reason: 'host_key_mismatch',
    message: `${host} presented the host key ${offered.fingerprint}, which was revoked in this segment.`,
    advice: 'Give the host a new key: anyone who has the revoked one can impersonate it.',
    offeredHostKey: offered,
  });
}

function refusePlainKey(
  host: string,
  blob: Buffer,
  offered: OfferedHostKey,
  accepted: readonly string[],
): SshError | undefined {
  const known = accepted.map(hostKeyBlob).filter((key) => key !== undefined);
  const given = accepted.filter((line) => line.startsWith('SHA256:'));
  if (known.some((key) => key.length === blob.length && timingSafeEqual(key, blob))) return undefined;
  if (given.includes(offered.fingerprint)) return undefined;
  if (known.length + given.length === 0) {
    return new SshError({
      reason: 'host_key_unknown',
      message: `No host key of ${host} has been accepted yet; it presented ${offered.fingerprint} (${keyType(blob)}).`,
      advice: `Compare the fingerprint on the host's own console, then accept the key "${offered.line}" for this target.`,
      offeredHostKey: offered,
    });
  }
  const expected = [...known.map((key) => `${hostKeyFingerprint(key)} (${keyType(key)})`), ...given].join(
    ', ',
  );
  return new SshError({
    reason: 'host_key_mismatch',
    message: `${host} presented the host key ${offered.fingerprint} (${keyType(blob)}), but ${expected} was accepted.`,
    advice:
      'Find out why the key changed (reinstalled host, reused address, interception) before accepting the new one.',
    offeredHostKey: offered,
  });
}
