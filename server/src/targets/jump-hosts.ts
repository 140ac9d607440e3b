// The way to a target that is reached through jump hosts: targets of its segment, each with its own credential, host
// keys and connection settings.
import type { LeaseJump } from '@opsconductor/protocol';
import { MissingPermission } from '../auth/missing-permission.ts';
import type { Caller } from '../caller.ts';
import { invalidField } from '../errors.ts';
import { hostTrustOf } from '../host-keys/host-trust-of.ts';
import type { Queryable } from '../store/database/connection.ts';
import { findJumpHosts, findTargetsNamed, type JumpHostRow } from '../store/targets/jump-hosts.ts';
import { targetsOutside } from '../store/targets/targets.ts';
import { connectionOf, leaseTarget } from './connection-of.ts';
import { requireOnTarget } from './require-on-target.ts';

/** Jump hosts that were read, by segment and name; undefined for a name that no target has. */
export type KnownJumpHosts = Map<string, JumpHostRow | undefined>;

/**
 * Returns the jump hosts on the way to a target, the first one first, or a text that says why there is no way. Settings
 * that a jump host inherits may name the jump host itself: then what is named before it leads to it, and what comes
 * after does not.
 * @param known filled with what is read.
 */
export async function jumpsTo(
  sql: Queryable,
  target: { name: string; segmentId: number },
  jumpHosts: readonly string[],
  known: KnownJumpHosts = new Map(),
): Promise<LeaseJump[] | string> {
  const names = wayOf(target.name, jumpHosts);
  const { segmentId } = target;
  const keyOf = (name: string) => `${segmentId} ${name}`;
  const unread = names.filter((name) => !known.has(keyOf(name)));
  if (unread.length > 0) {
    const rows = await findJumpHosts(sql, segmentId, unread);
    for (const name of unread)
      known.set(
        keyOf(name),
        rows.find((row) => row.name === name),
      );
  }
  const jumps: LeaseJump[] = [];
  for (const name of names) {
    const jump = leaseJump(name, target.name, known.get(keyOf(name)));
    if (typeof jump === 'string') return jump;
    jumps.push(jump);
  }
  return jumps;
}

interface Reached {
  name: string;
  segmentId: number;
  jumpHosts: readonly string[];
}

/**
 * A caller who sends agents to a target makes them log in to the jump hosts on the way.
 * @throws {MissingPermission} if the caller may not use credentials on one of them.
 */
export async function requireWays(
  sql: Queryable,
  caller: Caller,
  targets: readonly Reached[],
): Promise<void> {
  if (caller.authority.holdsEverywhere('credentials.use')) return;
  const ways = targets.map((target) => ({ ...target, way: wayOf(target.name, target.jumpHosts) }));
  const barred = new Map<number, Set<string>>();
  for (const segmentId of new Set(ways.map((each) => each.segmentId))) {
    const names = ways.filter((each) => each.segmentId === segmentId).flatMap(({ way }) => way);
    const named = await findTargetsNamed(sql, [...new Set(names)], segmentId);
    const ids = named.map(({ id }) => id);
    const outside = await targetsOutside(sql, ids, caller.authority.reach('credentials.use'));
    barred.set(segmentId, new Set(outside.map(({ name }) => name)));
  }
  const closed = ways.flatMap(({ name, segmentId, way }) => {
    const jumpHost = way.find((each) => barred.get(segmentId)?.has(each));
    return jumpHost === undefined ? [] : [{ name, jumpHost }];
  });
  const [first] = closed;
  if (first === undefined) return;
  const details = closed.slice(0, 100).map(({ name, jumpHost }) => ({
    path: 'selection',
    found: name,
    message: barredWay(name, jumpHost),
  }));
  throw new MissingPermission(caller, 'credentials.use', `jump host “${first.jumpHost}”`, details);
}

export function barredWay(name: string, jumpHost: string): string {
  return `You may not use credentials on jump host “${jumpHost}”, which is on the way to target “${name}”: that needs the permission credentials.use on it.`;
}

/** Returns the names before the target's own, or all if it is not among them. */
export function wayOf(targetName: string, jumpHosts: readonly string[]): readonly string[] {
  const own = jumpHosts.indexOf(targetName);
  return own < 0 ? jumpHosts : jumpHosts.slice(0, own);
}

function leaseJump(name: string, targetName: string, row: JumpHostRow | undefined): LeaseJump | string {
  const way = `jump host “${name}” of target “${targetName}”`;
  if (row === undefined) return `The segment has no target with the name of ${way}.`;
  const connection = connectionOf(row.settings, row.port);
  if (connection.protocol !== 'ssh')
    return `The ${way} is reached by ${connection.protocol}: only SSH can lead further.`;
  const { credentialId: id, credentialVersion: version, credentialKind: kind, sealed } = row;
  if (id === null || version === null || kind === null || sealed === null)
    return `The ${way} has no credential.`;
  const { hostKeys, hostTrust, host } = row;
  return {
    target: leaseTarget({ id: row.id, name, host, hostKeys, ...hostTrustOf(hostTrust, host) }, connection),
    credential: { id, version, kind, sealed },
  };
}

/**
 * Checks that new jump hosts exist, and that the caller may use their credentials, as anything that runs behind a jump
 * host does.
 * @param segmentId undefined for a place whose targets may be in any segment.
 * @throws {AppError} `invalid` for a name that no target has; `forbidden` for one whose credential the caller may not
 * use.
 */
export async function requireJumpHosts(
  sql: Queryable,
  caller: Caller,
  {
    names,
    before,
    segmentId,
  }: {
    names: readonly string[] | undefined;
    before: readonly string[] | undefined;
    segmentId?: number;
  },
): Promise<void> {
  const added = (names ?? []).filter((name) => !before?.includes(name));
  if (added.length === 0) return;
  const named = await findTargetsNamed(sql, added, segmentId);
  // A target that the caller may not see counts as missing. Without a segment, the name may also belong to targets
  // elsewhere, all of which are checked.
  const ids = named.map(({ id }) => id);
  const hidden =
    segmentId === undefined ? [] : await targetsOutside(sql, ids, caller.authority.reach('read'));
  const found = named.filter((target) => !hidden.some(({ id }) => id === target.id));
  for (const target of found) await requireOnTarget(sql, caller, 'credentials.use', target);
  for (const [at, name] of (names ?? []).entries()) {
    if (!added.includes(name) || found.some((target) => target.name === name)) continue;
    const where = segmentId === undefined ? '' : ' in this segment';
    throw invalidField(
      `settings.jump_hosts[${at}]`,
      `There is no target named “${name}”${where}; a jump host is a target itself, with its own credential and host keys.`,
    );
  }
}
