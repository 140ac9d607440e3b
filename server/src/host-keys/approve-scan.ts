// Accepts what a scan has found: exactly what was shown, or nothing. The decision is made on locked targets, by what
// they have shown and what is accepted for them now.
import { createHash } from 'node:crypto';
import {
  type ApproveHostKeysReply,
  type ApproveHostKeysRequest,
  type ErrorDetail,
  limits,
} from '@opsconductor/protocol';
import { recordAudits } from '../audit/record-audits.ts';
import { MissingPermission } from '../auth/missing-permission.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { AppError } from '../errors.ts';
import type { Sql, Tx } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { acceptKeys, tooManyKeys } from '../store/host-keys/host-keys.ts';
import { type ApprovableKey, lockApprovable } from '../store/host-keys/host-scan-review.ts';
import { lockHostTrust, revokedAmong } from '../store/host-keys/host-trust.ts';
import { forgetKeyRefusals } from '../store/targets/target-contacts.ts';
import { targetsOutside } from '../store/targets/targets.ts';
import { requireScan } from './read-scans.ts';

const maxNamed = 20;

interface Chosen extends ApprovableKey {
  path: string;
  replaces: string[] | undefined;
}

/**
 * @throws {AppError} `not_found`; `invalid` for an empty request; `forbidden` if the caller may not approve keys of one
 * of the targets; `conflict`, naming targets, if something is no longer as it was shown.
 */
export async function approveScan(
  sql: Sql,
  scanId: number,
  request: ApproveHostKeysRequest,
  caller: Caller,
): Promise<ApproveHostKeysReply> {
  const { all, keys = [], replace = [] } = request;
  if (all === undefined && keys.length + replace.length === 0) {
    const message = 'Nothing to approve: give all, keys or replace.';
    throw new AppError('invalid', message, { details: [{ path: '', message }] });
  }
  const read = caller.authority.reach('read');
  return inTransaction(sql, async (tx) => {
    await requireScan(tx, scanId, read);
    const targetIds = [...new Set([...keys, ...replace].map((one) => one.targetId))];
    const shown = await lockApprovable(tx, scanId, { finding: all?.finding, targetIds }, read);
    const named = new Set(targetIds);
    await refuseForbidden(
      tx,
      shown.filter((key) => named.has(key.targetId) || !key.isAccepted),
      caller,
    );
    const problems: ErrorDetail[] = [];
    const chosen = [
      ...(all === undefined ? [] : chooseAll(shown, all, problems)),
      ...chooseKeys(shown, keys, problems),
      ...chooseReplacements(shown, replace, problems),
    ];
    refuseProblems(problems);
    await refuseUnfit(tx, chosen);
    return accept(tx, scanId, chosen, caller);
  });
}

function chooseAll(
  shown: readonly ApprovableKey[],
  { finding, digest }: NonNullable<ApproveHostKeysRequest['all']>,
  problems: ErrorDetail[],
): Chosen[] {
  const these = shown.filter((key) => key.finding === finding && !key.isAccepted);
  const now = createHash('sha256')
    .update(these.map((key) => `${key.targetId} ${key.fingerprint}`).join('\n'))
    .digest('hex');
  if (now !== digest) {
    const targets = new Set(these.map((key) => key.targetId)).size;
    problems.push({
      path: 'all.digest',
      message: `What is ${finding} has changed since it was shown; now that is ${these.length} keys of ${targets} targets. Look at them again.`,
    });
  }
  return these.map((key) => ({ ...key, path: 'all', replaces: undefined }));
}

function chooseKeys(
  shown: readonly ApprovableKey[],
  keys: NonNullable<ApproveHostKeysRequest['keys']>,
  problems: ErrorDetail[],
): Chosen[] {
  const byKey = new Map(shown.map((key) => [`${key.targetId} ${key.fingerprint}`, key]));
  return keys.flatMap(({ targetId, fingerprint }, index) => {
    const path = `keys[${index}]`;
    const key = byKey.get(`${targetId} ${fingerprint}`);
    if (key === undefined) {
      problems.push({
        path,
        found: fingerprint,
        message: `The scan found no such key of target ${targetId}.`,
      });
      return [];
    }
    if (key.finding === 'changed' || key.finding === 'revoked') {
      const how = key.finding === 'changed' ? ' Name what it replaces, in replace.' : '';
      problems.push({
        path,
        found: fingerprint,
        message: `${key.targetName} is ${key.finding}, so this key can’t be accepted with others.${how}`,
      });
      return [];
    }
    return [{ ...key, path, replaces: undefined }];
  });
}

function chooseReplacements(
  shown: readonly ApprovableKey[],
  replace: NonNullable<ApproveHostKeysRequest['replace']>,
  problems: ErrorDetail[],
): Chosen[] {
  return replace.flatMap(({ targetId, fingerprints, replaces }, index) => {
    const path = `replace[${index}]`;
    const ofTarget = shown.filter((key) => key.targetId === targetId);
    const found = ofTarget.filter((key) => fingerprints.includes(key.fingerprint));
    const [first] = ofTarget;
    if (first === undefined || found.length !== fingerprints.length) {
      problems.push({ path, message: `The scan did not find these keys of target ${targetId}.` });
      return [];
    }
    if (first.finding !== 'changed') {
      problems.push({ path, message: `${first.targetName} is not changed, but ${first.finding}.` });
      return [];
    }
    if (replaces.toSorted().join() !== first.accepted.toSorted().join()) {
      problems.push({
        path: `${path}.replaces`,
        message: `These keys are now accepted for ${first.targetName}: ${first.accepted.join(', ')}. Compare with them.`,
      });
      return [];
    }
    return found.map((key) => ({ ...key, path, replaces }));
  });
}

function refuseProblems(problems: readonly ErrorDetail[]): void {
  const [first] = problems;
  if (first === undefined) return;
  const more = problems.length === 1 ? '' : ` ${problems.length - 1} more is not as it was shown.`;
  throw new AppError('conflict', `${first.message}${more} Nothing was accepted.`, {
    details: problems.slice(0, maxNamed),
  });
}

async function refuseForbidden(tx: Tx, chosen: readonly ApprovableKey[], caller: Caller): Promise<void> {
  if (caller.authority.holdsEverywhere('host_keys.approve')) return;
  const ids = [...new Set(chosen.map((key) => key.targetId))];
  const outside = await targetsOutside(tx, ids, caller.authority.reach('host_keys.approve'));
  const [first] = outside;
  if (first === undefined) return;
  const others = outside.length === 1 ? '' : ` and ${outside.length - 1} more`;
  throw new MissingPermission(caller, 'host_keys.approve', `target “${first.name}”${others}`);
}

/** Refuses targets that have moved or shown another key since: they are not what the person looked at. */
async function refuseUnfit(tx: Tx, chosen: readonly Chosen[]): Promise<void> {
  for (const segmentId of [...new Set(chosen.map((key) => key.segmentId))].sort((a, b) => a - b)) {
    await lockHostTrust(tx, segmentId);
  }
  const revoked = await revokedAmong(tx, chosen);
  const seen = new Set<number>();
  const problems = chosen.flatMap((key): ErrorDetail[] => {
    if (revoked.has(`${key.segmentId} ${key.fingerprint}`)) {
      return [
        {
          path: key.path,
          found: key.fingerprint,
          message: `${key.fingerprint} of ${key.targetName} was revoked.`,
        },
      ];
    }
    if (seen.has(key.targetId)) return [];
    seen.add(key.targetId);
    if (key.hasMoved) {
      return [
        { path: key.path, message: `${key.targetName} has another host or port since; scan it again.` },
      ];
    }
    if (key.shownSince === null) return [];
    const message = `${key.targetName} has shown another key since: ${key.shownSince}. Scan it again.`;
    return [{ path: key.path, found: key.shownSince, message }];
  });
  refuseProblems(problems);
}

async function accept(
  tx: Tx,
  scanId: number,
  chosen: readonly Chosen[],
  caller: Caller,
): Promise<ApproveHostKeysReply> {
  const byTarget = new Map<number, Map<string, Chosen>>();
  for (const key of chosen) {
    const keys = byTarget.get(key.targetId) ?? new Map<string, Chosen>();
    byTarget.set(key.targetId, keys.set(key.fingerprint, key));
  }
  const replacing = [...byTarget].filter(([, keys]) => [...keys.values()].some((key) => key.replaces));
  const all = [...byTarget.values()].flatMap((keys) => [...keys.values()]);
  const write = all.filter((key) => key.replaces !== undefined || !key.isAccepted);
  await acceptKeys(tx, write, {
    userId: caller.userId,
    source: 'scan',
    replacedTargetIds: replacing.map(([id]) => id),
  });
  await forgetKeyRefusals(
    tx,
    write.map((key) => key.targetId),
  );
  const full = await tooManyKeys(tx, [...byTarget.keys()], limits.maxHostKeysPerTarget);
  if (full !== undefined) {
    throw new AppError(
      'conflict',
      `${full} would have more than ${limits.maxHostKeysPerTarget} accepted keys.`,
    );
  }
  const written = new Set(write);
  await recordAudits(
    tx,
    [...byTarget].flatMap(([id, keys]) => {
      const list = [...keys.values()].filter((key) => written.has(key));
      const [first] = list;
      if (first === undefined) return [];
      return [
        {
          ...auditedBy(caller),
          action: 'host_key.accepted',
          object: { kind: 'target', id },
          detail: {
            target: first.targetName,
            fingerprints: list.map((key) => key.fingerprint),
            replaced: first.replaces ?? [],
            scan: scanId,
          },
          scope: { segmentId: first.segmentId },
        },
      ];
    }),
  );
  const replaced = replacing.reduce(
    (sum, [, keys]) => sum + ([...keys.values()][0]?.replaces?.length ?? 0),
    0,
  );
  return { targets: new Set(write.map((key) => key.targetId)).size, keys: write.length, replaced };
}
