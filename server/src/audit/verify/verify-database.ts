// `audit verify` of a database (DATABASE_URL or --data): checks every row against the checkpoints in the database and
// those kept elsewhere.
import type { Frontier } from '@opsconductor/protocol/audit';
import { retentionNotes } from '../../store/audit/audit-seals.ts';
import { strayRows, unsealedRows } from '../../store/audit/audit-verification.ts';
import type { Sql } from '../../store/database/connection.ts';
import { walkLog } from '../reading/walk-log.ts';
import { readRetentionNote } from '../sealing/retention.ts';
import { readFrontier, TreeDamaged } from '../tree-reader.ts';
import { LogVerifier, verifyExternal } from './log-verifier.ts';

export interface VerifyOptions {
  publicKey: Uint8Array;
  installationId: string;
  /** Checkpoints that were kept elsewhere. */
  notes: readonly { file: string; note: string }[];
}

const maxStrayRows = 100;
/** A row waits longer than this only if no server is sealing. */
const maxUnsealedAgeS = 60;

/** Reads the whole log once; memory use does not depend on its length. */
export async function verifyDatabase(sql: Sql, options: VerifyOptions): Promise<LogVerifier> {
  const { external, findings } = await verifyExternal(options, options.notes);
  const verifier = new LogVerifier({
    ...options,
    external,
    frontierAt: (size) => storedFrontier(sql, size),
  });
  for (const finding of findings) verifier.find(finding);
  await readRetention(sql, verifier, options);
  for await (const items of walkLog(sql)) {
    for (const item of items) {
      if (item.kind === 'place') verifier.place(item.place);
      else await verifier.checkpoint(item.note);
    }
  }
  verifier.end();
  await checkUnsealed(sql, verifier);
  return verifier;
}

async function checkUnsealed(sql: Sql, verifier: LogVerifier): Promise<void> {
  for (const id of await strayRows(sql, maxStrayRows))
    verifier.find({
      kind: 'inserted',
      message: `Row ${id} was never sealed and does not wait to be: it was inserted directly into the table, or its seal was removed.`,
      auditId: id,
    });
  const { count, oldestAgeS, missing } = await unsealedRows(sql);
  for (const id of missing)
    verifier.find({
      kind: 'removed',
      message: `Row ${id} was removed before it was sealed.`,
      auditId: id,
    });
  if (count > missing.length)
    verifier.remarks.push(
      `${count - missing.length === 1 ? '1 row is' : `${count - missing.length} rows are`} not sealed yet and not protected${(oldestAgeS ?? 0) > maxUnsealedAgeS ? `; the oldest has waited for ${Math.round(oldestAgeS ?? 0)} s: no server is sealing` : ''}.`,
    );
}

async function readRetention(sql: Sql, verifier: LogVerifier, options: VerifyOptions): Promise<void> {
  for (const row of await retentionNotes(sql)) {
    const below = await readRetentionNote(options, row.note);
    if (below === row.below) verifier.retainedBelow = below;
    else
      verifier.find({
        kind: 'checkpoint',
        message: `The note that retention removed rows below position ${row.below} is not signed by the installation.`,
      });
  }
}

async function storedFrontier(sql: Sql, size: number): Promise<Frontier | undefined> {
  try {
    return await readFrontier(sql, size);
  } catch (error) {
    if (error instanceof TreeDamaged) return undefined;
    throw error;
  }
}
