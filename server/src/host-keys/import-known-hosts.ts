// Imports known_hosts files into a segment: first a plan, line by line, then all of it or nothing. The plan is not
// stored: applying makes it again from the same file and compares digests.
import { createHash } from 'node:crypto';
import {
  type ApplyKnownHostsRequest,
  type KnownHostsAction,
  type KnownHostsItem,
  type KnownHostsPlan,
  knownHostName,
  knownHostsActions,
  limits,
  type PlanKnownHostsRequest,
} from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { recordAudits } from '../audit/record-audits.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { AppError, invalidField } from '../errors.ts';
import { segmentFor } from '../segments/segment-for.ts';
import type { Queryable, Sql, Tx } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import {
  acceptKeys,
  listAcceptedKeys,
  type NewAcceptedKey,
  tooManyKeys,
} from '../store/host-keys/host-keys.ts';
import { listHostTrust, lockHostTrust } from '../store/host-keys/host-trust.ts';
import {
  lockTargetsOfSegment,
  type SegmentTarget,
  targetsOfSegment,
} from '../store/host-keys/known-hosts-targets.ts';
import { forgetKeyRefusals } from '../store/targets/target-contacts.ts';
import { addTrustIn } from './edit-host-trust.ts';
import { type HashedMatches, matchHashedNames } from './match-hashed-names.ts';
import { type KnownHostsLine, namesHost, parseKnownHosts, type UnusableLine } from './parse-known-hosts.ts';

interface Planned {
  plan: KnownHostsPlan;
  accept: (NewAcceptedKey & { targetName: string; line: number })[];
  trust: (KnownHostsLine & { kind: 'authority' | 'revoked' })[];
}

const checksPerTurn = 2_000;

/**
 * @throws {AppError} `not_found`; `forbidden` without `host_keys.approve` on the segment; `invalid` for files that are
 * too large.
 */
export async function planKnownHosts(
  sql: Sql,
  { segmentId, content }: PlanKnownHostsRequest,
  caller: Caller,
): Promise<KnownHostsPlan> {
  await segmentFor(sql, segmentId, 'host_keys.approve', caller);
  const parsed = read(content);
  return (await makePlan(sql, segmentId, parsed, await matchHashed(sql, segmentId, parsed.lines))).plan;
}

/**
 * Carries out what a plan has shown.
 * @throws {AppError} `conflict` if the same file would give another plan by now, or has conflicts that should not be
 * skipped.
 */
export async function applyKnownHosts(
  sql: Sql,
  { segmentId, content, digest, skipConflicts = false }: ApplyKnownHostsRequest,
  caller: Caller,
): Promise<KnownHostsPlan> {
  const parsed = read(content);
  await segmentFor(sql, segmentId, 'host_keys.approve', caller);
  // Before anything is locked, because it takes time.
  const matches = await matchHashed(sql, segmentId, parsed.lines);
  return inTransaction(sql, async (tx) => {
    const segment = await segmentFor(tx, segmentId, 'host_keys.approve', caller);
    await lockTargetsOfSegment(tx, segmentId);
    await lockHostTrust(tx, segmentId);
    const planned = await makePlan(tx, segmentId, parsed, matches);
    const { plan } = planned;
    if (plan.digest !== digest) {
      throw new AppError('conflict', 'The plan of this file is no longer what was shown; plan it again.');
    }
    const { conflict } = plan.counts;
    if (conflict > 0 && !skipConflicts) {
      const details = plan.items
        .filter((item) => item.action === 'conflict')
        .slice(0, 100)
        .map((item) => ({ path: `content:${item.line}`, message: item.message ?? '' }));
      const keys = conflict === 1 ? 'One key is' : `${conflict} keys are`;
      throw new AppError(
        'conflict',
        `${keys} in conflict with accepted keys. Resolve that and plan again, or skip conflicts.`,
        { details },
      );
    }
    await apply(tx, segmentId, planned, caller);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'known_hosts.imported',
      object: { kind: 'segment', id: segmentId },
      detail: {
        segment: segment.name,
        sha256: createHash('sha256').update(content).digest('hex'),
        ...plan.counts,
        targets: plan.targets,
        skipConflicts,
      },
      scope: { segmentId },
    });
    return plan;
  });
}

async function apply(tx: Tx, segmentId: number, { accept, trust }: Planned, caller: Caller): Promise<void> {
  for (const { kind, hosts, key, line } of trust) {
    const { keyType, fingerprint, line: publicKey } = key;
    const entry = { kind, hosts: kind === 'revoked' ? '*' : hosts, keyType, fingerprint, publicKey };
    await addTrustIn(tx, segmentId, { ...entry, note: `known_hosts, line ${line}` }, caller);
  }
  await acceptKeys(tx, accept, { userId: caller.userId, source: 'known_hosts' });
  const ids = [...new Set(accept.map((key) => key.targetId))];
  await forgetKeyRefusals(tx, ids);
  const full = await tooManyKeys(tx, ids, limits.maxHostKeysPerTarget);
  if (full !== undefined) {
    throw new AppError(
      'conflict',
      `${full} would have more than ${limits.maxHostKeysPerTarget} accepted keys.`,
    );
  }
  const byTarget = grouped(accept, (key) => key.targetId);
  await recordAudits(
    tx,
    [...byTarget].map(([id, keys]) => ({
      ...auditedBy(caller),
      action: 'host_key.accepted',
      object: { kind: 'target', id },
      detail: {
        target: keys[0]?.targetName,
        fingerprints: keys.map((key) => key.fingerprint),
        replaced: [],
        source: 'known_hosts',
      },
      scope: { segmentId },
    })),
  );
}

function read(content: string): ReturnType<typeof parseKnownHosts> {
  const parsed = parseKnownHosts(content);
  const count = parsed.lines.length + parsed.unusable.length;
  if (count > limits.maxKnownHostsLines) {
    throw invalidField(
      'content',
      `The file has more than ${limits.maxKnownHostsLines} keys; import it in parts.`,
    );
  }
  return parsed;
}

/** Returns the targets that hashed names mean; refuses, before the work, if that would take too long. */
async function matchHashed(
  sql: Queryable,
  segmentId: number,
  lines: readonly KnownHostsLine[],
): Promise<HashedMatches> {
  const targets = await targetsOfSegment(sql, segmentId);
  const hashed = lines.filter((line) => line.hashed !== undefined).length;
  if (hashed * targets.length > limits.maxHashedNameChecks) {
    throw invalidField(
      'content',
      `Each of its ${hashed} hashed names would have to be tried on ${targets.length} targets, which takes too long. Import it in parts, or scan the targets.`,
    );
  }
  return matchHashedNames(
    lines.filter((line) => line.marker === 'key'),
    targets.map(({ host, port }) => knownHostName(host, port)),
  );
}

async function makePlan(
  sql: Queryable,
  segmentId: number,
  { lines, unusable }: { lines: KnownHostsLine[]; unusable: UnusableLine[] },
  matches: HashedMatches,
): Promise<Planned> {
  const targets = await targetsOfSegment(sql, segmentId);
  const trusted = await listHostTrust(sql, segmentId);
  const revoked = new Set([
    ...trusted.filter((row) => row.kind === 'revoked').map((row) => row.fingerprint),
    ...lines.filter((line) => line.marker === 'revoked').map((line) => line.key.fingerprint),
  ]);
  const accepted = grouped(await listAcceptedKeys(sql, segmentId), (key) => key.targetId);
  const find = finder(targets, matches);
  const items: KnownHostsItem[] = unusable.map(({ line, hosts, message }) => ({
    ...nothing,
    line,
    hosts,
    action: 'unusable',
    message,
  }));
  const accept: Planned['accept'] = [];
  const trust: Planned['trust'] = [];
  const given = new Set<string>();
  for (const line of lines) {
    const about = {
      ...nothing,
      line: line.line,
      hosts: line.hosts.slice(0, 200),
      keyType: line.key.keyType,
      fingerprint: line.key.fingerprint,
    };
    if (line.marker !== 'key') {
      const item = planTrust(line, trusted, revoked, trust);
      items.push({ ...about, ...item });
      continue;
    }
    const named = await find(line);
    if (named.length === 0) items.push({ ...about, action: 'no_target' });
    for (const target of named) {
      const item = planKey(line, target, accepted.get(target.id) ?? [], revoked);
      const key = `${target.id} ${line.key.fingerprint}`;
      const action = item.action === 'accept' && given.has(key) ? 'known' : item.action;
      items.push({ ...about, ...item, action, targetId: target.id, targetName: target.name });
      if (action !== 'accept') continue;
      given.add(key);
      const { fingerprint, keyType, line: publicKey } = line.key;
      accept.push({
        targetId: target.id,
        targetName: target.name,
        line: line.line,
        fingerprint,
        keyType,
        publicKey,
      });
    }
  }
  items.sort((a, b) => a.line - b.line || (a.targetName ?? '').localeCompare(b.targetName ?? ''));
  return { plan: planOf(segmentId, items), accept, trust };
}

const nothing = { targetId: null, targetName: null, keyType: null, fingerprint: null, message: null };

function planTrust(
  line: KnownHostsLine,
  trusted: Awaited<ReturnType<typeof listHostTrust>>,
  revoked: ReadonlySet<string>,
  trust: Planned['trust'],
): Pick<KnownHostsItem, 'action' | 'message'> {
  const kind = line.marker === 'revoked' ? 'revoked' : 'authority';
  const { fingerprint } = line.key;
  if (kind === 'authority' && line.hashed !== undefined) {
    return {
      action: 'unusable',
      message: 'An authority’s hosts can’t be hashed: nobody could tell which hosts it speaks for.',
    };
  }
  if (kind === 'authority' && !/^!?[A-Za-z0-9_.:*?-]+(,!?[A-Za-z0-9_.:*?-]+)*$/.test(line.hosts)) {
    return {
      action: 'unusable',
      message: 'An authority is for hosts on every port; leave brackets and port out.',
    };
  }
  if (kind === 'authority' && revoked.has(fingerprint)) {
    return { action: 'conflict', message: 'This authority is revoked.' };
  }
  const hosts = kind === 'revoked' ? '*' : line.hosts;
  const isThere = (one: { kind: string; fingerprint: string; hosts: string }) =>
    one.kind === kind && one.fingerprint === fingerprint && one.hosts === hosts;
  const planned = trust.map((one) => ({
    kind: one.kind,
    fingerprint: one.key.fingerprint,
    hosts: one.hosts,
  }));
  if ([...trusted, ...planned].some(isThere)) return { action: 'known', message: null };
  trust.push({ ...line, hosts, kind });
  const message = kind === 'revoked' ? 'Refused for every host of the segment from then on.' : null;
  return { action: kind === 'revoked' ? 'revoke' : 'authority', message };
}

function planKey(
  { key }: KnownHostsLine,
  target: SegmentTarget,
  accepted: readonly { fingerprint: string; keyType: string }[],
  revoked: ReadonlySet<string>,
): Pick<KnownHostsItem, 'action' | 'message'> {
  if (revoked.has(key.fingerprint)) return { action: 'conflict', message: 'This key is revoked.' };
  if (accepted.some((one) => one.fingerprint === key.fingerprint)) return { action: 'known', message: null };
  const other = accepted.find((one) => one.keyType === key.keyType);
  if (other === undefined) return { action: 'accept', message: null };
  const message = `For ${target.name}, another key of this type is accepted: ${other.fingerprint}.`;
  return { action: 'conflict', message };
}

/**
 * Returns a function that finds the targets that a line names. Plain names are looked up; patterns are tried on each
 * target.
 */
function finder(
  targets: readonly SegmentTarget[],
  matches: HashedMatches,
): (line: KnownHostsLine) => Promise<SegmentTarget[]> {
  const names = new Map(targets.map((target) => [target, knownHostName(target.host, target.port)]));
  const byName = grouped(targets, (target) => names.get(target) ?? '');
  const hasHashed = matches.byLine.size > 0;
  if (hasHashed && [...byName.keys()].some((name) => !matches.names.has(name))) {
    throw new AppError('conflict', 'The targets of the segment have changed meanwhile; plan the file again.');
  }
  let checks = 0;
  return async (line) => {
    if (line.hashed !== undefined) {
      return (matches.byLine.get(line.line) ?? []).flatMap((name) => byName.get(name) ?? []);
    }
    if (!/[*?!]/.test(line.hosts)) {
      const named = line.hosts.split(',').flatMap((name) => byName.get(name.trim().toLowerCase()) ?? []);
      return [...new Set(named)];
    }
    const found: SegmentTarget[] = [];
    for (const [name, ofName] of byName) {
      if (namesHost(line, name)) found.push(...ofName);
      checks += 1;
      // Lets other work have its turn.
      if (checks % checksPerTurn === 0) await new Promise((next) => setImmediate(next));
    }
    return found;
  };
}

function grouped<T, K>(items: readonly T[], keyOf: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

function planOf(segmentId: number, items: KnownHostsItem[]): KnownHostsPlan {
  const counts = Object.fromEntries(knownHostsActions.map((action) => [action, 0])) as Record<
    KnownHostsAction,
    number
  >;
  const targets = new Set<number>();
  const hash = createHash('sha256').update(`${segmentId}\n`);
  for (const { action, line, targetId, fingerprint, message } of items) {
    counts[action] += 1;
    if (action === 'accept' && targetId !== null) targets.add(targetId);
    hash.update(`${JSON.stringify([action, line, targetId, fingerprint, message])}\n`);
  }
  return { segmentId, counts, targets: targets.size, digest: hash.digest('hex'), items };
}
