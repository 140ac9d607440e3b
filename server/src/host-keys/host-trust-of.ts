// What an agent is told of a segment's host authorities and revoked keys.
import { type LeaseTarget, matchesHostPatternList } from '@opsconductor/protocol';
import type { TrustEntry } from '../store/targets/host-trust.ts';

/** For one host those that may speak for it; for a whole segment, without a host, all. */
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
