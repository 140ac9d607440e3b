// Exports the whole log with its checkpoints, or an excerpt in which each row has the proof that it is in the log: as
// one JSON object per line (docs/audit.md), or as CSV for people. Written page by page, as the reader takes it.
import type { AuditExportQuery } from '@opsconductor/protocol';
import { readCheckpoint } from '@opsconductor/protocol/audit';
import { latestCheckpoint, retentionNotes } from '../../store/audit/audit-seals.ts';
import { type AuditFilter, auditIds, exportAudit, unsealedAudit } from '../../store/audit/audit-search.ts';
import type { Sql } from '../../store/database/connection.ts';
import { reachesEverything } from '../../store/people/visibility.ts';
import { inclusionProofs } from '../tree-reader.ts';
import { csvHead, csvLine } from './csv.ts';
import { walkLog } from './walk-log.ts';

export interface ExportDeps {
  sql: Sql;
  installation: { installationId: string; serverKey: { publicKey: Uint8Array } };
  now: () => Date;
}

const rowsPerQuery = 500;
/** Bounds a query also if few rows fit: whoever exports holds a turn for as long as it takes (`readInTurns`). */
const idsPerQuery = 50_000;
const maxUnsealedRows = 100_000;

/**
 * Yields the pieces of the export. A caller who may read the whole log and uses no filters gets all of it, to verify.
 */
export async function* exportLog(
  deps: ExportDeps,
  query: AuditExportQuery,
  filter: AuditFilter,
): AsyncGenerator<string> {
  if (query.format === 'csv') return yield* exportCsv(deps.sql, filter);
  const { format: _, ...filters } = query;
  const isWhole = Object.keys(filters).length === 0 && reachesEverything(filter.reaches);
  yield line({
    type: 'export',
    version: 1,
    kind: isWhole ? 'log' : 'excerpt',
    installationId: deps.installation.installationId,
    publicKey: Buffer.from(deps.installation.serverKey.publicKey).toString('base64'),
    exportedAt: deps.now().toISOString(),
    filters,
  });
  if (isWhole) yield* exportWhole(deps.sql);
  else yield* exportExcerpt(deps.sql, filter);
  yield line({ type: 'end' });
}

async function* exportWhole(sql: Sql): AsyncGenerator<string> {
  for (const { note } of await retentionNotes(sql)) yield line({ type: 'retention', note });
  for await (const items of walkLog(sql)) {
    yield items
      .map((item) => {
        if (item.kind === 'checkpoint') return line({ type: 'checkpoint', note: item.note });
        const { position, auditId, leafHash, row } = item.place;
        const place = { position, leafHash: leafHash.toString('base64') };
        return line(
          row === undefined ? { type: 'removed', ...place, auditId } : { type: 'row', ...place, row },
        );
      })
      .join('');
  }
  for (const row of await unsealedAudit(sql, maxUnsealedRows)) yield line({ type: 'unsealed', row });
}

async function* exportExcerpt(sql: Sql, filter: AuditFilter): AsyncGenerator<string> {
  const latest = await latestCheckpoint(sql);
  const size = latest === undefined ? 0 : readCheckpoint(latest.note).size;
  if (latest !== undefined) yield line({ type: 'checkpoint', note: latest.note });
  for await (const rows of pages(sql, filter)) {
    const sealed = rows.filter((row) => row.position !== null && row.position < size);
    const proofs = await inclusionProofs(
      sql,
      sealed.map((row) => row.position ?? 0),
      size,
    );
    const proofOf = new Map(sealed.map((row, i) => [row.id, proofs[i]]));
    yield rows
      .map(({ position, ...row }) => {
        const proof = proofOf.get(row.id)?.map((hash) => hash.toString('base64'));
        return line(proof === undefined ? { type: 'unsealed', row } : { type: 'row', position, row, proof });
      })
      .join('');
  }
}

async function* exportCsv(sql: Sql, filter: AuditFilter): AsyncGenerator<string> {
  yield csvHead;
  for await (const rows of pages(sql, filter)) yield rows.map(csvLine).join('');
}

/** Yields the rows that fit, a part of the log at a time, also if none in it do. */
async function* pages(sql: Sql, filter: AuditFilter) {
  const { oldest, newest } = await auditIds(sql);
  for (let above = oldest - 1; above < newest; ) {
    const upTo = Math.min(above + idsPerQuery, newest);
    const rows = await exportAudit(sql, filter, { above, upTo, limit: rowsPerQuery });
    yield rows;
    above = rows.length < rowsPerQuery ? upTo : (rows.at(-1)?.id ?? upTo);
  }
}

function line(value: object): string {
  return `${JSON.stringify(value)}\n`;
}
