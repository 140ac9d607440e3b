// What agents tell of the targets that they were given to scan.
import type { ScannedHost } from '@opsconductor/protocol';
import type { Sql } from '../store/connection.ts';
import { type ScannedItem, writeScanned } from '../store/host-scans.ts';
import { inTransaction } from '../store/transaction.ts';
import { parseHostKeyLine } from '../targets/host-key-line.ts';

/** Notes results of a scan. `placeOf` is where the agent was sent for a target; without one the result is left. */
export async function recordScanned(
  sql: Sql,
  agentId: number,
  scanId: number,
  hosts: readonly ScannedHost[],
  placeOf: (targetId: number) => { host: string; port: number } | undefined,
): Promise<void> {
  const items = new Map<number, ScannedItem>();
  for (const host of hosts) {
    const place = placeOf(host.targetId);
    if (place !== undefined) items.set(host.targetId, itemOf(host, place));
  }
  if (items.size === 0) return;
  const ordered = [...items.values()].sort((a, b) => a.targetId - b.targetId);
  await inTransaction(sql, (tx) => writeScanned(tx, agentId, scanId, ordered));
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

/** PostgreSQL stores no NUL; lone surrogates are no text. */
function storable(text: string | undefined): string | null {
  return text === undefined ? null : text.replaceAll('\0', '').toWellFormed();
}
