// Routes of what an attempt of a step leaves behind: its output, and the files that it transferred.
import {
  Closed,
  Id,
  OutputPageSchema,
  OutputQuerySchema,
  StepTransfersQuerySchema,
  StepTransfersSchema,
} from '@opsconductor/protocol';
import {
  findOutput,
  outputLength,
  readOutputBytes,
  readOutputPage,
} from '../../../runs/output/read-output.ts';
import type { RunKeys } from '../../../runs/run-keys.ts';
import { listTransfers } from '../../../runs/transfers/list-transfers.ts';
import type { Sql } from '../../../store/database/connection.ts';
import { readInTurns } from '../../../turns/read-in-turns.ts';
import { answerBytes, partAnswers } from '../../answers/byte-answer.ts';
import { type RouteSpec, route } from '../../route.ts';

export interface StepOutputDeps {
  sql: Sql;
  keys: RunKeys;
}

const tag = 'runs';
const params = Closed({ id: Id, step: Id });

export function stepOutputRoutes(deps: StepOutputDeps): RouteSpec[] {
  return [outputRoute(deps), transfersRoute(deps)];
}

function outputRoute(deps: StepOutputDeps): RouteSpec {
  return route({
    method: 'GET',
    path: '/api/v1/runs/:id/steps/:step/output',
    permission: 'read',
    scoped: true,
    summary: 'Read a step’s output: as numbered chunks, or as bytes with HTTP ranges',
    tag,
    params,
    query: OutputQuerySchema,
    success: {
      status: 200,
      schema: OutputPageSchema,
      others: [
        { status: 200, contentType: 'text/plain' },
        { status: 200, contentType: 'application/octet-stream' },
        ...partAnswers('text/plain', 'application/octet-stream'),
      ],
    },
    errors: ['output_expired'],
    handle: async ({ params, query, principal, context }) => {
      const ref = { runId: params.id, stepId: params.step, epoch: query.attempt };
      const attempt = await findOutput(deps, ref, principal.authority.reach('read'));
      const format = query.format ?? 'chunks';
      if (format === 'chunks') {
        return readOutputPage(deps, attempt, {
          after: query.after ?? 0,
          maxRawBytes: query.maxBytes ?? 2 * 1024 * 1024,
          stream: query.stream,
        });
      }
      const length = await outputLength(deps, attempt, query.stream);
      return answerBytes(context.req.header('range'), {
        length,
        headers: bytesHeaders(format, `run-${params.id}-step-${params.step}`),
        read: ({ start, end }) =>
          readInTurns(principal.userId, readOutputBytes(deps, attempt, { start, end, stream: query.stream })),
      });
    },
  });
}

/** Output is hostile: it is only ever shown as text, and `raw` is always a download. */
function bytesHeaders(format: 'text' | 'raw', name: string): Record<string, string> {
  return {
    'Content-Type': format === 'text' ? 'text/plain; charset=utf-8' : 'application/octet-stream',
    'Content-Disposition': format === 'text' ? 'inline' : `attachment; filename="${name}.log"`,
  };
}

function transfersRoute(deps: StepOutputDeps): RouteSpec {
  return route({
    method: 'GET',
    path: '/api/v1/runs/:id/steps/:step/transfers',
    permission: 'read',
    scoped: true,
    summary: 'List the files that an attempt of a step has transferred',
    description:
      'Available once the attempt has ended: totals of all files, and up to 500 of them individually, failed ones first. While it runs, the run’s stream shows its progress (`transfer`).',
    tag,
    params,
    query: StepTransfersQuerySchema,
    success: { status: 200, schema: StepTransfersSchema },
    handle: ({ params, query, principal }) => {
      const ref = { runId: params.id, stepId: params.step, epoch: query.attempt };
      return listTransfers(deps, ref, principal.authority);
    },
  });
}
