import {
  type AuditCheckpoint,
  AuditCheckpointSchema,
  AuditExportQuerySchema,
  AuditPageSchema,
  AuditQuerySchema,
} from '@opsconductor/protocol';
import { readCheckpoint } from '@opsconductor/protocol/audit';
import { type ExportDeps, exportLog } from '../../audit/reading/export-log.ts';
import { filterOf, searchLog } from '../../audit/reading/search-log.ts';
import { recordAudit } from '../../audit/record-audit.ts';
import type { Authority } from '../../auth/authority.ts';
import { auditedBy, callerOf } from '../../caller.ts';
import { AppError } from '../../errors.ts';
import { countUnsealed, latestCheckpoint } from '../../store/audit/audit-seals.ts';
import { readInTurns } from '../../turns/read-in-turns.ts';
import { type RouteSpec, route } from '../route.ts';

const tag = 'audit';
/** An export is sent in pieces of about this length. */
const pieceChars = 64 * 1024;

export function auditRoutes(deps: ExportDeps): RouteSpec[] {
  const { sql } = deps;
  return [
    route({
      method: 'GET',
      path: '/api/v1/audit',
      permission: 'audit.read',
      scoped: true,
      summary: 'Search the audit log, newest first',
      description:
        'If your right is limited to a segment, a target group or a category, only what happened there. `position` is the place in the sealed log; it is null for about a second. A search that reads much is ended after about a second: `searchedTo` then tells how far back it has looked, and `nextCursor` goes on from there.',
      tag,
      query: AuditQuerySchema,
      success: { status: 200, schema: AuditPageSchema },
      handle: ({ query, principal }) => searchLog(sql, query, principal.authority.reach('audit.read')),
    }),
    route({
      method: 'GET',
      path: '/api/v1/audit/export',
      permission: 'audit.read',
      scoped: true,
      summary: 'Export the audit log, oldest first, to verify or to keep',
      description:
        '`jsonl` is what `audit verify --export` reads: without filters, and if you may read everything, it is the whole log with its checkpoints; otherwise each row has the proof that it is in the log. `csv` is for people and proves nothing. The export is streamed and audited.',
      tag,
      query: AuditExportQuerySchema,
      success: {
        status: 200,
        contentType: 'application/x-ndjson',
        others: [{ status: 200, contentType: 'text/csv' }],
      },
      handle: async (request) => {
        const { query, authorityNow } = request;
        const filter = filterOf(query, request.principal.authority.reach('audit.read'));
        await recordAudit(sql, {
          ...auditedBy(callerOf(request)),
          action: 'audit.exported',
          detail: { ...query },
        });
        const isCsv = query.format === 'csv';
        const day = deps.now().toISOString().slice(0, 10);
        const pieces = readInTurns(request.principal.userId, exportLog(deps, query, filter));
        return new Response(streamOf(pieces, authorityNow), {
          headers: {
            'Content-Type': isCsv ? 'text/csv; charset=utf-8' : 'application/x-ndjson; charset=utf-8',
            'Content-Disposition': `attachment; filename="audit-${day}.${isCsv ? 'csv' : 'jsonl'}"`,
            'Cache-Control': 'no-store',
          },
        });
      },
    }),
    route({
      method: 'GET',
      path: '/api/v1/audit/checkpoints/latest',
      permission: 'audit.read',
      summary: 'Get the newest signed checkpoint, to store elsewhere',
      description:
        'A checkpoint stored outside can later prove that the log was truncated or the database rolled back: `audit verify --checkpoint`. 404 before the first checkpoint.',
      tag,
      success: { status: 200, schema: AuditCheckpointSchema },
      errors: ['not_found'],
      handle: () => latest(deps),
    }),
  ];
}

async function latest({ sql, installation }: ExportDeps): Promise<AuditCheckpoint> {
  const [row, unsealedRows] = await Promise.all([latestCheckpoint(sql), countUnsealed(sql)]);
  if (row === undefined)
    throw new AppError('not_found', 'There is no checkpoint yet; try again in a second.');
  const checkpoint = readCheckpoint(row.note);
  return {
    number: checkpoint.number,
    size: checkpoint.size,
    rootHash: checkpoint.rootHash.toString('base64'),
    sealedAt: checkpoint.sealedAt,
    note: row.note,
    unsealedRows,
    publicKey: Buffer.from(installation.serverKey.publicKey).toString('base64'),
  };
}

/**
 * Returns a pull-driven stream, so that a slow reader fills no memory. It breaks off once the caller's right has ended.
 */
function streamOf(
  pieces: AsyncGenerator<string>,
  authorityNow: () => Promise<Authority | undefined>,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  return new ReadableStream({
    async pull(controller) {
      if ((await authorityNow()) === undefined) throw new Error('the right to read the audit log has ended');
      let gathered = '';
      let next = await pieces.next();
      for (; !next.done; next = await pieces.next()) {
        gathered += next.value;
        if (gathered.length >= pieceChars) break;
      }
      if (gathered !== '') controller.enqueue(encoder.encode(gathered));
      if (next.done) controller.close();
    },
    async cancel() {
      await pieces.return(undefined);
    },
  });
}
