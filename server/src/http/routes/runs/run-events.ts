// Serves the live stream of a run as server-sent events. It is pull-driven: what a slow reader hasn't taken stays in
// the database.
import {
  Closed,
  Id,
  isRunEnded,
  limits,
  RunEventsQuerySchema,
  type RunStarted,
} from '@opsconductor/protocol';
import type { Authority } from '../../../auth/authority.ts';
import type { Principal } from '../../../auth/principal.ts';
import { type AppError, invalidField } from '../../../errors.ts';
import type { LiveHub } from '../../../runs/live/live-hub.ts';
import { stepsOfOutputQuery } from '../../../runs/live/output-query.ts';
import { RunStream } from '../../../runs/live/run-stream.ts';
import { parsePosition, type StreamPosition } from '../../../runs/live/stream-position.ts';
import type { RunKeys } from '../../../runs/run-keys.ts';
import type { RunPart } from '../../../runs/view/run-part.ts';
import { partToFollow, seeRun, whatIsSeen } from '../../../runs/view/seen-run.ts';
import type { Sql } from '../../../store/database/connection.ts';
import type { RunRecord } from '../../../store/runs/runs.ts';
import { cutConnection } from '../../client.ts';
import { type RouteRequest, type RouteSpec, route } from '../../route.ts';

export interface RunEventsDeps {
  sql: Sql;
  hub: LiveHub;
  keys: RunKeys;
  /** Ends the streams when the server stops. */
  stopping: AbortSignal;
  /** Interval of keep-alive comments; 15 s by default. */
  keepAliveMs?: number;
  /**
   * Calls the listener when sessions, tokens or rights have changed, with a function that says whose. Returns the
   * unsubscribe function.
   */
  onForgotten?(listener: (isAffected: (principal: Principal) => boolean) => void): () => void;
}

const eventStream = 'text/event-stream';
const streamHeaders = {
  'Content-Type': `${eventStream}; charset=utf-8`,
  'Cache-Control': 'no-store',
  'X-Accel-Buffering': 'no',
};

/**
 * Comments at this interval keep proxies from closing a quiet stream. The reader's rights are also checked again then.
 */
const defaultKeepAliveMs = 15_000;

export function runEventRoutes(deps: RunEventsDeps): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/runs/:id/events',
      permission: 'read',
      scoped: true,
      summary: 'Follow a run live (server-sent events, resumable by Last-Event-ID)',
      description:
        'Events: `change` (what changed, as whole new values), `chunk` (stored output, gzip in base64, of the steps in `output`), `transfer` (the latest progress of a step that moves files, without an id), `end` (the run has ended and everything was sent).',
      tag: 'runs',
      params: Closed({ id: Id }),
      query: RunEventsQuerySchema,
      success: { status: 200, contentType: eventStream },
      handle: async ({ params, query, principal, context, authorityNow }) => {
        const [seen, named] = await Promise.all([
          seeRun(deps.sql, params.id, principal.authority),
          query.output === undefined ? [] : stepsOfOutputQuery(deps.sql, params.id, query.output),
        ]);
        const part = await partToFollow(deps.sql, seen, principal.authority);
        const stepIds = part !== undefined && query.output === 'all' ? stepsOfPart(part) : named;
        if (stepIds === undefined) throw tooManySteps(query.output ?? '');
        const { run } = seen;
        const position = startOf(
          { lastId: context.req.header('last-event-id'), after: query.after },
          run,
          part,
        );
        const stream = { runId: run.id, stepIds, position, hasEnded: isRunEnded(run.status), part };
        const isStill = async () =>
          isSeenAs(deps.sql, { runId: run.id, isWhole: seen.isWhole, part }, await authorityNow());
        return new Response(bytesOf(deps, { principal, context }, { stream, isStill }), {
          headers: streamHeaders,
        });
      },
    }),
  ];
}

export type StreamRequest = Pick<
  RouteRequest<unknown, unknown, unknown>,
  'principal' | 'context' | 'authorityNow'
>;

/** Returns whether the caller asks for the stream of what they start instead of a plain answer. */
export function wantsEvents(accept: string | undefined): boolean {
  return (accept ?? '').split(',').some((type) => type.split(';')[0]?.trim().toLowerCase() === eventStream);
}

/**
 * Answers a start by a caller who may read the run's job with the run's stream from the first event on, so that the
 * start and its output take one request. If that stream breaks, the caller continues with GET of the run's events.
 */
export async function followStarted(
  deps: RunEventsDeps,
  { principal, context, authorityNow }: StreamRequest,
  { runId, stepIds, isNew }: { runId: number; stepIds: { ids?: number[] }; isNew: boolean },
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> {
  const position = { afterSeq: 0, output: new Map() };
  const stream = { runId, stepIds: stepIds.ids ?? [], position, hasEnded: false, isNew };
  const seen = { runId, isWhole: true, part: undefined };
  const isStill = async () => isSeenAs(deps.sql, seen, await authorityNow());
  const path = `/api/v1/runs/${runId}`;
  const started: RunStarted = {
    id: runId,
    events: `${path}/events`,
    hasOutput: stepIds.ids !== undefined,
  };
  const first = `retry: 1000\n\nevent: started\ndata: ${JSON.stringify(started)}\n\n`;
  return new Response(bytesOf(deps, { principal, context }, { stream, isStill, first }), {
    status: 201,
    headers: { ...streamHeaders, ...headers, Location: path },
  });
}

/**
 * Returns where the reader continues. The event number of another view of the run (whole, or another part) is
 * meaningless, so that reader gets all events again. So does one who names an event that the run has not come to: after
 * a restore its events are numbered on from an earlier one, and the reader would miss those up to that number.
 */
function startOf(
  { lastId, after }: { lastId: string | undefined; after: number | undefined },
  { eventSeq }: Pick<RunRecord, 'eventSeq'>,
  part: RunPart | undefined,
): StreamPosition {
  const tag = part === undefined ? {} : { part: part.tag };
  if (lastId === undefined || lastId === '') return { afterSeq: after ?? 0, ...tag, output: new Map() };
  const position = parsePosition(lastId);
  if (position === undefined) {
    throw invalidField('Last-Event-ID', 'Is not an id that this stream issued; start again without it.');
  }
  const { part: _, afterSeq, output } = position;
  if (part === undefined && position.part === undefined && afterSeq > eventSeq)
    return { afterSeq: 0, output: new Map() };
  return { afterSeq: position.part === part?.tag ? afterSeq : 0, ...tag, output };
}

/** Returns whether the caller still sees the same part of the run as when the stream began. */
async function isSeenAs(
  sql: Sql,
  seen: { runId: number; isWhole: boolean; part: RunPart | undefined },
  authority: Authority | undefined,
): Promise<boolean> {
  if (authority === undefined) return false;
  if (authority.holdsEverywhere('read')) return seen.isWhole;
  const now = await whatIsSeen(sql, seen.runId, authority);
  return now !== undefined && now.isWhole === seen.isWhole && now.partTag === seen.part?.tag;
}

function stepsOfPart(part: RunPart): number[] | undefined {
  const ids = part.stepIds;
  return ids.length > limits.maxStepsForWholeOutputStream ? undefined : ids;
}

function tooManySteps(query: string): AppError {
  return invalidField('query.output', `Name at most ${limits.maxStepsForWholeOutputStream} steps.`, {
    found: query === 'all' ? 'all, of a run with more steps' : `${query.split(',').length} steps`,
    allowed: `step ids, ${limits.maxStepsForWholeOutputStream} at most`,
  });
}

interface StreamToSend {
  stream: ConstructorParameters<typeof RunStream>[1];
  /** Says whether the reader may continue. Called at each keep-alive at the latest. */
  isStill(): Promise<boolean>;
  /** What the reader gets at once. */
  first?: string;
}

/** Returns the bytes of one reader's stream. */
function bytesOf(
  deps: RunEventsDeps,
  { principal, context }: Pick<StreamRequest, 'principal' | 'context'>,
  { stream: of, isStill, first = 'retry: 1000\n\n' }: StreamToSend,
): ReadableStream<Uint8Array> {
  const onCutOff = () => cutConnection(context);
  const stream = new RunStream(deps, { ...of, onCutOff, whose: String(principal.userId) });
  const encoder = new TextEncoder();
  const { stopping, keepAliveMs = defaultKeepAliveMs } = deps;
  const { signal: gone } = context.req.raw;
  let askAt = performance.now() + keepAliveMs;
  const forgotten = deps.onForgotten?.((isAffected) => {
    if (!isAffected(principal)) return;
    askAt = 0;
    stream.nudge();
  });
  const end = () => stream.close();
  stopping.addEventListener('abort', end, { once: true });
  gone.addEventListener('abort', end, { once: true });
  // The server is stopping: the stream ends at once, so that the reader reconnects.
  if (stopping.aborted) end();
  const release = () => {
    stream.close();
    forgotten?.();
    stopping.removeEventListener('abort', end);
    gone.removeEventListener('abort', end);
  };
  const next = async (): Promise<Uint8Array[] | undefined> => {
    if (performance.now() >= askAt) {
      askAt = performance.now() + keepAliveMs;
      if (!(await isStill())) return undefined;
    }
    return stream.next(Math.max(0, askAt - performance.now()));
  };
  let isFirst = true;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (isFirst) {
          // Sent at once together with the headers, so that the reader knows it is connected.
          isFirst = false;
          controller.enqueue(encoder.encode(first));
          return;
        }
        let pieces: Uint8Array[] | undefined;
        try {
          pieces = await next();
        } catch (error) {
          // The database is away. The reader does not cancel a stream that fails, so it is released here.
          release();
          throw error;
        }
        if (pieces === undefined) {
          release();
          controller.close();
        } else {
          if (pieces.length === 0) pieces.push(encoder.encode(': still here\n\n'));
          for (const piece of pieces) controller.enqueue(piece);
        }
      },
      cancel: release,
    },
    { highWaterMark: 0 },
  );
}
