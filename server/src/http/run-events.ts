// The live stream of a run as server-sent events. Pull-driven: what a slow reader hasn't taken stays in the database.
import { Closed, Id, isRunEnded, limits, RunEventsQuerySchema } from '@opsconductor/protocol';
import { type AppError, invalidField, notFound } from '../errors.ts';
import type { LiveHub } from '../runs/live-hub.ts';
import type { RunKeys } from '../runs/run-keys.ts';
import { parsePosition, RunStream, type StreamPosition, stepsOfOutputQuery } from '../runs/run-stream.ts';
import type { Sql } from '../store/connection.ts';
import { findRun } from '../store/runs.ts';
import { type RouteSpec, route } from './route.ts';

export interface RunEventsDeps {
  sql: Sql;
  hub: LiveHub;
  keys: RunKeys;
  /** Ends the streams when the server stops. */
  stopping: AbortSignal;
}

/** Comments at this interval keep proxies from closing a quiet stream. */
const keepAliveMs = 15_000;

export function runEventRoutes(deps: RunEventsDeps): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/runs/:id/events',
      permission: 'read',
      summary: 'Follow a run live (server-sent events, resumable by Last-Event-ID)',
      description:
        'Events: `change` (what changed, as whole new values), `chunk` (stored output, gzip in base64, of the steps in `output`), `end` (the run has ended and everything was sent).',
      tag: 'runs',
      params: Closed({ id: Id }),
      query: RunEventsQuerySchema,
      success: { status: 200, contentType: 'text/event-stream' },
      handle: async ({ params, query, context }) => {
        const [run, stepIds] = await Promise.all([
          findRun(deps.sql, params.id),
          query.output === undefined ? [] : stepsOfOutputQuery(deps.sql, params.id, query.output),
        ]);
        if (run === undefined) throw notFound(`Run ${params.id}`);
        if (stepIds === undefined) throw tooManySteps(query.output ?? '');
        const lastId = context.req.header('last-event-id');
        const position: StreamPosition | undefined =
          lastId === undefined || lastId === ''
            ? { afterSeq: query.after ?? 0, output: new Map() }
            : parsePosition(lastId);
        if (position === undefined) {
          throw invalidField(
            'Last-Event-ID',
            'Is not an id that this stream gave out; start again without it.',
          );
        }
        const hasEnded = isRunEnded(run.status);
        const stream = new RunStream(deps, { runId: run.id, stepIds, position, hasEnded });
        return new Response(streamOf(stream, deps.stopping, context.req.raw.signal), {
          headers: {
            'Content-Type': 'text/event-stream; charset=utf-8',
            'Cache-Control': 'no-store',
            'X-Accel-Buffering': 'no',
          },
        });
      },
    }),
  ];
}

function tooManySteps(query: string): AppError {
  return invalidField('query.output', `Name at most ${limits.maxStepsForWholeOutputStream} steps.`, {
    found: query === 'all' ? 'all, of a run with more steps' : `${query.split(',').length} steps`,
    allowed: `step ids, ${limits.maxStepsForWholeOutputStream} at most`,
  });
}

function streamOf(stream: RunStream, stopping: AbortSignal, gone: AbortSignal): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const end = () => stream.close();
  stopping.addEventListener('abort', end, { once: true });
  gone.addEventListener('abort', end, { once: true });
  const release = () => {
    stream.close();
    stopping.removeEventListener('abort', end);
    gone.removeEventListener('abort', end);
  };
  let isFirst = true;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (isFirst) {
          // Headers and this line go out at once, so that the reader knows that it is connected.
          isFirst = false;
          controller.enqueue(encoder.encode('retry: 1000\n\n'));
          return;
        }
        let text: string | undefined;
        try {
          text = await stream.next(keepAliveMs);
        } catch (error) {
          // The database is away. A stream that errs is not cancelled by its reader, so it is released here.
          release();
          throw error;
        }
        if (text === undefined) {
          release();
          controller.close();
        } else {
          controller.enqueue(encoder.encode(text === '' ? ': still here\n\n' : text));
        }
      },
      cancel: release,
    },
    { highWaterMark: 0 },
  );
}
