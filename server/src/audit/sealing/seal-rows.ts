// Seals what was written since the last checkpoint: gives each row its place in the tree and signs the new root. Rows
// are found through a queue that the transaction of each row fills. Nothing is concluded from ids or transaction
// numbers: a row that commits late is sealed late, one that rolls back was never queued, and a restored dump brings its
// queue along.
import {
  Frontier,
  type Hash,
  hashBytes,
  readCheckpoint,
  type SignedCheckpoint,
  signCheckpoint,
} from '@opsconductor/protocol/audit';
import type { KeyPair } from '@opsconductor/protocol/sealing';
import type { Log } from '../../log.ts';
import {
  insertCheckpoint,
  insertLeaves,
  insertNodes,
  latestCheckpoint,
  lockSealing,
  type NodeRow,
  sealingTime,
  takeUnsealed,
} from '../../store/audit/audit-seals.ts';
import type { Sql, Tx } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { hashRow } from '../leaf.ts';
import { recordAudit } from '../record-audit.ts';
import { readFrontier, storedEvery, TreeDamaged } from '../tree-reader.ts';

export interface SealDeps {
  sql: Sql;
  installation: { installationId: string; serverKey: KeyPair };
  log: Log;
}

/** Maximum number of rows per checkpoint, which bounds memory and the transaction. */
const maxRowsPerCheckpoint = 5_000;

/**
 * Makes one checkpoint over the rows that wait.
 * @returns the checkpoint, and whether more rows wait; undefined if none waited or another server is sealing.
 * @throws {TreeDamaged} if the stored tree is not the one that the last checkpoint signed: nothing is signed on top of
 * that.
 */
export async function sealRows(
  deps: SealDeps,
): Promise<{ checkpoint: SignedCheckpoint; more: boolean } | undefined> {
  return inTransaction(deps.sql, async (tx) => {
    if (!(await lockSealing(tx))) return undefined;
    const { taken, rows, missing } = await takeUnsealed(tx, maxRowsPerCheckpoint);
    for (const id of missing) await reportMissing(deps, tx, id);
    if (rows.length === 0) return undefined;
    const last = await latestCheckpoint(tx);
    const before = last === undefined ? undefined : readCheckpoint(last.note);
    const frontier = await frontierAfter(tx, before);
    const leaves = rows.map(hashRow);
    const nodes: NodeRow[] = [];
    for (const leaf of leaves) {
      frontier.append(leaf, ({ level, index }, hash) => {
        if (level % storedEvery === 0) nodes.push({ level, index, hash });
      });
    }
    const sealedAt = await sealingTime(tx, last?.sealedAt);
    const checkpoint = await signCheckpoint(deps.installation.serverKey, {
      installationId: deps.installation.installationId,
      size: frontier.size,
      rootHash: frontier.root,
      number: (before?.number ?? 0) + 1,
      previousHash: before?.hash ?? noHash,
      sealedAt: sealedAt.toISOString(),
    });
    await insertLeaves(
      tx,
      before?.size ?? 0,
      rows.map((row) => row.id),
      leaves,
    );
    await insertNodes(tx, nodes);
    await insertCheckpoint(tx, {
      number: checkpoint.number,
      size: checkpoint.size,
      sealedAt,
      note: checkpoint.note,
    });
    return { checkpoint, more: taken === maxRowsPerCheckpoint };
  });
}

const noHash: Hash = Buffer.alloc(hashBytes);

async function frontierAfter(tx: Tx, before: SignedCheckpoint | undefined): Promise<Frontier> {
  if (before === undefined) return new Frontier();
  const frontier = await readFrontier(tx, before.size);
  if (!frontier.root.equals(before.rootHash))
    throw new TreeDamaged(`it does not have the root that checkpoint ${before.number} signed`);
  return frontier;
}

/** Somebody bypassed the triggers and deleted the row before it was sealed; all that is known is that it existed. */
async function reportMissing(deps: SealDeps, tx: Tx, id: number): Promise<void> {
  deps.log.error(
    { auditRow: id },
    'a row of the audit log was removed before it was sealed; verify it with npm run audit -- verify',
  );
  await recordAudit(tx, {
    actor: { kind: 'system', name: 'audit' },
    action: 'audit.row_missing',
    object: { kind: 'audit_row', id },
  });
}
