// Runs of the stand-in: their hosts, steps, output and streams. The output of run 6000 comes as fast as it is read, in as
// many chunks as FAST_CHUNKS says, one every FAST_DELAY_MS; run 6002 happens while it is watched.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { OutputChunk, Run, SshConnection, Step, TargetRun } from '@opsconductor/protocol';
import { failedRuns } from './failed-runs.ts';
import { LiveRun } from './live-run.ts';
import { arrangeOutcomes, outcomesAnswer } from './outcomes-api.ts';
import { chunksOf, fastChunk } from './outputs.ts';
import { fail, json } from './replies.ts';
import { makeRun } from './run-fixtures.ts';

const webName = (at: number) =>
  at < 14 ? `dmz-web-${String(at + 1).padStart(2, '0')}` : `core-web-${String(at - 13).padStart(2, '0')}`;
const made = [
  makeRun(4127, 0, { succeeded: 12, failed: 1, held: 2, running: 6, queued: 3 }, webName),
  makeRun(
    5000,
    0,
    { held: 37, failed: 14, running: 100, queued: 861, succeeded: 1388 },
    (at) => `host-${at + 1}`,
  ),
  makeRun(6000, 2, { running: 1 }, () => 'dmz-web-01'),
  makeRun(6001, 2, { succeeded: 1 }, () => 'dmz-web-01'),
  makeRun(6100, 11, { failed: 1, running: 40, succeeded: 80 }, (at) => `core-switch-${at + 1}`),
  makeRun(6200, 0, { cancelled: 2, succeeded: 1 }, webName),
  makeRun(6300, 0, { failed: 3, cancelled: 12, unknown: 2, succeeded: 7 }, webName),
  makeRun(6400, 0, { cancelling: 3, cancelled: 5, succeeded: 9 }, webName),
  makeRun(6500, 0, { running: 3, queued: 1 }, webName),
  makeRun(6600, 0, { queued: 40 }, webName),
  makeRun(6700, 0, { running: 5, succeeded: 4 }, webName),
  makeRun(4003, 4, { succeeded: 3 }, webName),
  makeRun(4002, 6, { failed: 2, succeeded: 3, timed_out: 1 }, webName),
  ...failedRuns(webName),
];
arrangeOutcomes(new Map(made.map((one) => [one.run.id, one])));
export const live = new LiveRun(6002);
export const runs = new Map([...made, live].map((one) => [one.run.id, one]));
const fastTotal = Number(process.env.FAST_CHUNKS ?? 800);
const fastDelayMs = Number(process.env.FAST_DELAY_MS ?? 0);
const fast = new Map<number, OutputChunk>();
function fastOf(seq: number): OutputChunk {
  const made = fast.get(seq) ?? fastChunk(seq);
  fast.set(seq, made);
  return made;
}
let fastStored = 0;

function storedChunks(
  run: Run,
  step: Step,
): { last: number; at: (seq: number) => OutputChunk | undefined; state: Step['outputState'] } {
  if (run.id === 6000)
    return {
      last: fastStored,
      at: (seq) => (seq <= fastStored ? fastOf(seq) : undefined),
      state: fastStored < fastTotal ? 'open' : 'complete',
    };
  if (run.id === live.run.id) {
    const chunks = live.chunks(step.id);
    return { last: chunks.length, at: (seq) => chunks[seq - 1], state: step.outputState };
  }
  const chunks =
    step.attempt === 0
      ? []
      : run.id === 6001
        ? chunksOf('hostile')
        : step.stepNumber === 3 || step.status === 'failed'
          ? chunksOf('patch')
          : chunksOf('patch').slice(0, 3);
  return { last: chunks.length, at: (seq) => chunks[seq - 1], state: step.outputState };
}

function connectionOf({ id, targetName, startedAt }: TargetRun): SshConnection {
  return {
    id,
    targetRunId: id,
    targetName,
    agentName: 'dmz-1-agent-a',
    sessionId: '71ecef62-c8e7-4304-896e-e24ebdd6cf8d',
    establishedAt: startedAt,
    commandsExecuted: 3,
    filesTransferred: id % 4,
    totalBytesTransferred: 1_482 + 40_000 * (id % 4),
  };
}

/** Answers a request for run `id`; `rest` is what follows it in the path. */
export function runApi(
  request: IncomingMessage,
  response: ServerResponse,
  url: URL,
  { id, rest, hasSteps, mayDecide }: { id: number; rest: string; hasSteps: boolean; mayDecide: boolean },
) {
  const found = runs.get(id);
  if (found === undefined) return fail(response, 404, 'not_found', `There is no run ${id}.`);
  if (rest === '') return json(response, 200, found.run);
  const from = Number(url.searchParams.get('cursor') ?? 0);
  if (rest === '/target-runs') {
    const to = from + Number(url.searchParams.get('limit') ?? 50);
    const nextCursor = to < found.targetRuns.length ? String(to) : null;
    return json(response, 200, { items: found.targetRuns.slice(from, to), nextCursor });
  }
  if (rest === '/ssh-connections')
    return json(response, 200, { items: found.targetRuns.slice(0, 40).map(connectionOf), nextCursor: null });
  const { searchParams } = url;
  const asked = (searchParams.get('targetRunIds') ?? searchParams.get('targetRunId'))?.split(',').map(Number);
  if (rest === '/steps' && asked !== undefined) {
    if (!hasSteps) return fail(response, 500, 'internal', 'Internal error.');
    return json(response, 200, {
      targetRuns: found.targetRuns.filter(({ id }) => asked.includes(id)),
      steps: found.steps.filter((step) => asked.includes(step.targetRunId)),
      nextCursor: null,
    });
  }
  if (rest === '/steps') {
    const targetRuns = found.targetRuns.slice(from, from + 100);
    const ids = new Set(targetRuns.map((one) => one.id));
    const next = from + 100 < found.targetRuns.length ? String(from + 100) : null;
    return json(response, 200, {
      targetRuns,
      steps: found.steps.filter((step) => ids.has(step.targetRunId)),
      nextCursor: next,
    });
  }
  const outcome = outcomesAnswer(request.method ?? '', rest, found, { mayDecide });
  if (outcome !== undefined) return json(response, outcome.status, outcome.body);
  if (rest === '/events') return streamEvents(request, response, url, id);
  const output = /^\/steps\/(\d+)\/output$/.exec(rest);
  const step = found.steps.find((one) => one.id === Number(output?.[1]));
  if (step === undefined) return fail(response, 404, 'not_found', 'There is no such step.');
  const stored = storedChunks(found.run, step);
  const chunks: OutputChunk[] = [];
  let bytes = 0;
  for (
    let seq = Number(url.searchParams.get('after') ?? 0) + 1;
    seq <= stored.last && bytes < Number(url.searchParams.get('maxBytes') ?? 2e6);
    seq += 1
  ) {
    const chunk = stored.at(seq);
    if (chunk === undefined) break;
    chunks.push(chunk);
    bytes += chunk.rawLength;
  }
  json(response, 200, {
    attempt: Number(url.searchParams.get('attempt') ?? step.attempt),
    outputState: stored.state,
    lastSeq: stored.last,
    rawBytes: id === 6000 ? stored.last * 262_000 : 9_400,
    chunks,
    gaps: [],
  });
}

/** Sends heartbeats and, for run 6000, output as fast as the reader takes it. */
async function streamEvents(request: IncomingMessage, response: ServerResponse, url: URL, id: number) {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store' });
  response.write('retry: 1000\n\n');
  const beat = setInterval(() => response.write(': still here\n\n'), 15_000);
  request.on('close', () => clearInterval(beat));
  const stepId = Number(url.searchParams.get('output') ?? 0);
  if (id === live.run.id) {
    const send = (event: string, name: string, data: unknown) =>
      response.write(`event: ${event}\nid: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
    for (const chunk of live.chunks(stepId)) send('chunk', `100~${stepId}.1.${chunk.seq}`, chunk);
    const stop = live.listen((event, name, data) => {
      if (event !== 'chunk' || (data as { stepId: number }).stepId === stepId) send(event, name, data);
      if (event === 'end') response.end();
    });
    request.on('close', stop);
    return;
  }
  if (id !== 6000 || stepId === 0) return;
  const mark = /~\d+\.\d+\.(\d+)/.exec(String(request.headers['last-event-id'] ?? ''));
  for (let seq = Number(mark?.[1] ?? 0) + 1; seq <= fastTotal && !response.destroyed; seq += 1) {
    fastStored = Math.max(fastStored, seq);
    const more = response.write(
      `event: chunk\nid: 100~${stepId}.1.${seq}\ndata: ${JSON.stringify({ stepId, ...fastOf(seq) })}\n\n`,
    );
    if (fastDelayMs > 0) await new Promise((resolve) => setTimeout(resolve, fastDelayMs));
    if (!more) await new Promise((resolve) => response.once('drain', resolve).once('close', resolve));
  }
}
