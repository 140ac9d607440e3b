// Records what agents report about the targets that they were given to scan.
import type { ScannedHost } from '@opsconductor/protocol';
import { recordAudits } from '../audit/record-audits.ts';
import type { Sql, Tx } from '../store/database/connection.ts';
import { isRefused, withoutRefused } from '../store/database/refused-statement.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { forgetChangedKeys, replaceOfferedKey } from '../store/host-keys/host-keys.ts';
import { changedAmong, lockTargetsWithKeys, unchangedAmong } from '../store/host-keys/host-scan-review.ts';
import {
  failUnrecorded,
  type RefusedItem,
  type ScannedItem,
  writeScanned,
} from '../store/host-keys/host-scans.ts';
import { parseHostKeyLine } from '../targets/host-key-line.ts';

/** A part of a scan: what one agent was given of it. */
interface GivenScan {
  agentId: number;
  scanId: number;
}

/**
 * Records results of a scan. `placeOf`: where the agent was sent for a target; without one, the result is ignored.
 *
 * @returns the targets whose results the database refuses, each with its error. Their part of the scan ends as failed.
 */
export async function recordScanned(
  sql: Sql,
  { agentId, scanId }: GivenScan,
  hosts: readonly ScannedHost[],
  placeOf: (targetId: number) => { host: string; port: number } | undefined,
): Promise<RefusedItem[]> {
  const items = new Map<number, ScannedItem>();
  for (const host of hosts) {
    const place = placeOf(host.targetId);
    if (place !== undefined) items.set(host.targetId, itemOf(host, place));
  }
  if (items.size === 0) return [];
  const ordered = [...items.values()].sort((a, b) => a.targetId - b.targetId);
  const refused = await withoutRefused(ordered, (part) => record(sql, { agentId, scanId }, part));
  for (const { item } of refused)
    await failUnrecorded(sql, agentId, { scanId, targetId: item.targetId }).catch((error) => {
      // Then it is given out again.
      if (!isRefused(error)) throw error;
    });
  return refused.map(({ item, error }) => ({ item: { scanId, targetId: item.targetId }, error }));
}

async function record(
  sql: Sql,
  { agentId, scanId }: GivenScan,
  items: readonly ScannedItem[],
): Promise<void> {
  // Only targets that show a key can have changed. They are locked before anything that belongs to them.
  const mayHaveChanged = items.filter((item) => item.keys.length > 0).map((item) => item.targetId);
  await inTransaction(sql, async (tx) => {
    const withKeys = await lockTargetsWithKeys(tx, mayHaveChanged);
    await writeScanned(tx, agentId, scanId, items);
    if (withKeys.length > 0) await noteChanged(tx, scanId, withKeys);
  });
}

/**
 * Keeps a changed key at its target, as if a connection had met it, and audits it the first time. It is cleared once an
 * accepted key is shown again.
 */
async function noteChanged(tx: Tx, scanId: number, targetIds: readonly number[]): Promise<void> {
  await forgetChangedKeys(tx, await unchangedAmong(tx, scanId, targetIds));
  const changed = await changedAmong(tx, scanId, targetIds);
  for (const { targetId, fingerprint, keyType, publicKey } of changed) {
    await replaceOfferedKey(tx, { targetId, fingerprint, keyType, publicKey, state: 'changed' });
  }
  await recordAudits(
    tx,
    changed
      .filter((target) => !target.isKnown)
      .map(({ targetId, name, segmentId, fingerprint, accepted }) => ({
        actor: { kind: 'system', name: 'server' },
        action: 'host_key.changed',
        object: { kind: 'target', id: targetId },
        detail: { target: name, offered: fingerprint, accepted, scan: scanId },
        scope: { segmentId },
      })),
  );
}

function itemOf(scanned: ScannedHost, place: { host: string; port: number }): ScannedItem {
  const keys = scanned.keys.flatMap((line) => {
    const key = parseHostKeyLine(line);
    return key === undefined
      ? []
      : [{ fingerprint: key.fingerprint, keyType: key.keyType, publicKey: key.line }];
  });
  return {
    targetId: scanned.targetId,
    ok: scanned.ok,
    ...place,
    reason: storable(scanned.reason),
    message: storable(scanned.message),
    advice: storable(scanned.advice),
    serverVersion: storable(scanned.serverVersion),
    latencyMs: scanned.latencyMs ?? null,
    certifiedBy: storable(scanned.certified?.authority),
    keyId: storable(scanned.certified?.keyId),
    certificateProblem: storable(scanned.certificateProblem),
    keys,
  };
}

/** PostgreSQL can't store NUL, and lone surrogates are not valid text. */
function storable(text: string | undefined): string | null {
  return text === undefined ? null : text.replaceAll('\0', '').toWellFormed();
}
