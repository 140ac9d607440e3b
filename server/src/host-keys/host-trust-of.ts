// What an agent is told about a segment's host authorities and revoked keys.
import { type LeaseTarget, matchesHostPatternList } from '@opsconductor/protocol';
import type { TrustEntry } from '../store/host-keys/host-trust.ts';

/** With a host, returns only the authorities that may speak for it; without one, all of the segment. */
export function hostTrustOf(
  entries: readonly TrustEntry[],
  host?: string,
): Pick<LeaseTarget, 'hostAuthorities' | 'revokedHostKeys'> {
  const name = host?.toLowerCase();
  const hostAuthorities = entries
    .filter(
      ({ kind, hosts }) =>
        kind === 'authority' && (name === undefined || matchesHostPatternList(name, hosts)),
    )
    .map(({ key, hosts }) => ({ key, hosts }));
  const revokedHostKeys = entries
    .filter(({ kind }) => kind === 'revoked')
    .map(({ fingerprint }) => fingerprint);
  return {
    ...(hostAuthorities.length === 0 ? {} : { hostAuthorities }),
    ...(revokedHostKeys.length === 0 ? {} : { revokedHostKeys }),
  };
}
