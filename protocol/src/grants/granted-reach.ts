// The target and credentials of a lease, in the form used in a grant: sealed parts replaced by their SHA-256.
import type { Lease, LeaseCredential, LeaseSecret, LeaseTarget } from '../agent/lease.ts';
import { canonicalJson } from '../canonical-json.ts';
import type { GrantedTarget } from './run-grant.ts';
import { sha256Hex } from './sign-grant.ts';

type Reach = GrantedTarget['reaches'][number];

/** Includes everything about the target in a lease, so that fields added to leases later are signed too. */
export async function grantedReach({
  target,
  credential,
  runAs,
}: Pick<Lease, 'target' | 'credential' | 'runAs'>): Promise<Omit<Reach, 'steps'>> {
  return {
    target: await grantedPlace(target),
    credential: await grantedCredential(credential),
    ...(runAs === undefined ? {} : { runAs: await grantedCredential(runAs) }),
  };
}

/** Names a secret of a lease with the SHA-256 of its sealed form, as canonical JSON (RFC 8785). */
export async function grantedSecret({
  id,
  name,
  sealed,
}: Pick<LeaseSecret, 'id' | 'name' | 'sealed'>): Promise<GrantedTarget['secrets'][number]> {
  return { id, name, sha256: await sha256Hex(canonicalJson(sealed)) };
}

async function grantedPlace({ jumps, ...place }: LeaseTarget): Promise<Reach['target']> {
  if (jumps === undefined) return place;
  const way = jumps.map(async (jump) => ({
    target: jump.target,
    credential: await grantedCredential(jump.credential),
  }));
  return { ...place, jumps: await Promise.all(way) };
}

async function grantedCredential({
  id,
  version,
  kind,
  sealed,
}: LeaseCredential): Promise<Reach['credential']> {
  return { id, version, kind, sha256: await sha256Hex(canonicalJson(sealed)) };
}
