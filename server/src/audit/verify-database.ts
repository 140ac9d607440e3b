// `audit verify --database-url`: every row of a database against its checkpoints and those kept elsewhere.
import { type Frontier, isSignedNote } from '@opsconductor/protocol/audit';
import { checkpointsAfter, latestCheckpoint, retentionNotes } from '../store/audit-seals.ts';
import { readPlaces, strayRows, unsealedRows } from '../store/audit-verification.ts';
import type { Sql } from '../store/connection.ts';
import { LogVerifier, verifyExternal } from './log-verifier.ts';
import { retentionName, retentionText } from './retention.ts';
import { readFrontier, TreeDamaged } from './tree-reader.ts';

export interface VerifyOptions {
  publicKey: Uint8Array;
  installationId: string;
  /** Checkpoints that were kept elsewhere. */
  notes: readonly { file: string; note: string }[];
}

const rowsPerQuery = 2_000;
const checkpointsPerQuery = 500;
const maxStrayRows = 100;
/** Longer than this a row waits only where no server seals. */
const maxUnsealedAgeS = 60;

/** Reads the whole log once; the memory it takes does not depend on its length. */
export async function verifyDatabase(sql: Sql, options: VerifyOptions): Promise<LogVerifier> {
  const { external, findings } = await verifyExternal(options, options.notes);
  const retention = await readRetention(sql, options);
  const verifier = new LogVerifier({
    ...options,
    retainedBelow: retention.below,
    external,
    frontierAt: (size) => storedFrontier(sql, size),
  });
  for (const finding of [...findings, ...retention.findings]) verifier.find(finding);
  // Rows are sealed while this reads: it ends at what is the newest checkpoint now.
  const newest = await latestCheckpoint(sql);
  let position = 0;
  for (let number = 0; ; ) {
    const checkpoints = await checkpointsAfter(sql, number, checkpointsPerQuery);
    for (const checkpoint of checkpoints) {
      if (checkpoint.number > (newest?.number ?? 0)) break;
      position = await feedPlaces(sql, verifier, position, checkpoint.size);
      await verifier.checkpoint(checkpoint.note);
    }
    number = checkpoints.at(-1)?.number ?? number;
    if (checkpoints.length < checkpointsPerQuery) break;
  }
  const isNewest = (await latestCheckpoint(sql))?.number === newest?.number;
  if (isNewest) await feedPlaces(sql, verifier, position, Number.MAX_SAFE_INTEGER);
  verifier.end();
  await checkUnsealed(sql, verifier);
  return verifier;
}

async function feedPlaces(sql: Sql, verifier: LogVerifier, from: number, below: number): Promise<number> {
  let position = from;
  while (position < below) {
    const places = await readPlaces(sql, position, below, rowsPerQuery);
    for (const place of places) verifier.place(place);
    position = (places.at(-1)?.position ?? below - 1) + 1;
    if (places.length < rowsPerQuery) break;
  }
  return position;
}

async function checkUnsealed(sql: Sql, verifier: LogVerifier): Promise<void> {
  for (const id of await strayRows(sql, maxStrayRows))
    verifier.find({
      kind: 'inserted',
      message: `Row ${id} was never sealed and does not wait to be: it was put in past the log, or its seal was removed.`,
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
      `${count - missing.length} rows are not sealed yet and not protected${(oldestAgeS ?? 0) > maxUnsealedAgeS ? `; the oldest has waited for ${Math.round(oldestAgeS ?? 0)} s: no server is sealing` : ''}.`,
    );
}

async function readRetention(sql: Sql, options: VerifyOptions) {
  const name = retentionName(options.installationId);
  const findings = [];
  let below = 0;
  for (const row of await retentionNotes(sql)) {
    const isTrue =
      row.note.startsWith(retentionText(name, row.below)) &&
      (await isSignedNote(options.publicKey, name, row.note));
    if (isTrue) below = row.below;
    else
      findings.push({
        kind: 'checkpoint' as const,
        message: `The note that retention removed rows below position ${row.below} is not signed by the installation.`,
      });
  }
  return { below, findings };
}

async function storedFrontier(sql: Sql, size: number): Promise<Frontier | undefined> {
  try {
    return await readFrontier(sql, size);
  } catch (error) {
    if (error instanceof TreeDamaged) return undefined;
    throw error;
  }
}
