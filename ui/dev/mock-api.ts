// A stand-in for the server for work on the console: `npx tsx ui/dev/mock-api.ts [port]` serves ui/dist with the
// server's content security policy, and fixtures. POST /dev/<scenario> switches to full, empty, slow, failing or down,
// to refusing (what changes something fails), stepless (steps of single hosts can't be read), expiring (enrollment
// tokens expire at once), tokenless (they can't be listed), many (2,000 segments with their agents), enrolled or
// connected (another agent has appeared); POST /dev/live starts run 6002 again; POST /dev/as-<admin|scoped|nobody>
// changes who is signed in. With DELAY_MS=N, reads are answered one after the other, after N to 5 N ms, to see what moves
// while a page loads.
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { extname, join } from 'node:path';
import {
  type ExecutorOverview,
  matchesSelector,
  type OutputChunk,
  parseSelector,
  type Run,
  type Segment,
  type Step,
  type Target,
} from '@opsconductor/protocol';
import { createAnswer, editedJob, saveAnswer } from './editor-api.ts';
import { enrollmentToken, revokeToken, unusedTokens } from './enrollment-api.ts';
import { filesAnswer } from './files-api.ts';
import { agentDetail, credentials, jobs, makeRun, me, targets } from './fixtures.ts';
import { hostKeysAnswer } from './host-keys-api.ts';
import { jobPartsAnswer } from './job-parts-api.ts';
import { jobsAnswer } from './jobs-api.ts';
import { jobsHealth } from './jobs-health.ts';
import { LiveRun } from './live-run.ts';
import { arrangeOutcomes, outcomesAnswer } from './outcomes-api.ts';
import { chunksOf, fastChunk } from './outputs.ts';
import { meAs, peopleAnswer } from './people-api.ts';
import { placesAnswer } from './places-api.ts';
import { agentPage, segmentPage, segmentsOf } from './segments-api.ts';
import { siteRulesAnswer } from './site-rules-api.ts';
import { starters } from './starters.ts';

const port = Number(process.argv[2] ?? 7711);
const delayMs = Number(process.env.DELAY_MS ?? 0);
const dist = process.env.DIST ?? join(import.meta.dirname, '../dist');
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
const types: Record<string, string> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
};

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
  makeRun(4003, 4, { succeeded: 3 }, webName),
  makeRun(4002, 6, { failed: 2, succeeded: 3, timed_out: 1 }, webName),
];
const manyTargets = Array.from({ length: 12_000 }, (_, at) => {
  const one = targets[at % targets.length] as (typeof targets)[number];
  const round = Math.floor(at / targets.length);
  return round === 0
    ? one
    : { ...one, id: at + 1, name: `${one.name}-${round}`, host: `${round}.${one.host}` };
});
arrangeOutcomes(new Map(made.map((one) => [one.run.id, one])));
const live = new LiveRun(6002);
const runs = new Map([...made, live].map((one) => [one.run.id, one]));
const fastTotal = Number(process.env.FAST_CHUNKS ?? 800);
const fastDelayMs = Number(process.env.FAST_DELAY_MS ?? 0);
const fast = new Map<number, OutputChunk>();
function fastOf(seq: number): OutputChunk {
  const made = fast.get(seq) ?? fastChunk(seq);
  fast.set(seq, made);
  return made;
}
let fastStored = 0;
let scenario = 'full';
let signedIn = true;
let who = 'admin';

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

function json(response: ServerResponse, status: number, body: unknown) {
  response.writeHead(status, { 'content-type': 'application/json', 'content-security-policy': policy });
  response.end(JSON.stringify(body));
}
function fail(response: ServerResponse, status: number, code: string, message: string, details?: unknown) {
  json(response, status, {
    error: { code, message, requestId: 'req_7f3c91ae', ...(details === undefined ? {} : { details }) },
  });
}
const page = <T>(items: T[]) => ({ items: scenario === 'empty' ? [] : items, nextCursor: null });

async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  return (await contentOf(request)).body;
}
/** Reads the body's size and, if it is JSON, what it says. */
async function contentOf(request: IncomingMessage): Promise<{ body: Record<string, unknown>; size: number }> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece);
  const content = Buffer.concat(pieces);
  const isJson = request.headers['content-type'] === 'application/json' && content.length > 0;
  return { body: isJson ? JSON.parse(content.toString()) : {}, size: content.length };
}

async function api(request: IncomingMessage, response: ServerResponse, url: URL): Promise<void> {
  const path = url.pathname.replace('/api/v1', '');
  const route = `${request.method} ${path}`;
  if (scenario === 'down') return void response.destroy();
  if (route === 'POST /sign-in' || route === 'POST /sign-in/exchange') {
    const body = await bodyOf(request);
    if (body.password === 'wrong' || body.code === 'used-used-used-used-used')
      return fail(response, 401, 'unauthenticated', 'The code was used or has expired.');
    signedIn = true;
    return json(response, 200, me);
  }
  if (!signedIn) return fail(response, 401, 'unauthenticated', 'Sign in first.');
  if (route === 'GET /me') return json(response, 200, meAs(me, who));
  if (delayMs > 0 && request.method === 'GET')
    await new Promise((resolve) => setTimeout(resolve, delayMs * (1 + (path.length % 5))));
  if (scenario === 'slow' && request.method === 'GET')
    await new Promise((resolve) => setTimeout(resolve, 60_000));
  if (scenario === (request.method === 'GET' ? 'failing' : 'refusing'))
    return fail(response, 503, 'unavailable', 'The database does not answer.');
  const isEmpty = scenario === 'empty';
  const isOfPlaces =
    /^\/(?:target-groups|inventories|targets\/(?:select|bulk|labels)|segments\/\d+\/settings)/.test(path);
  const places = isOfPlaces
    ? placesAnswer(request.method ?? '', path, url.searchParams, await bodyOf(request), {
        targets: manyTargets,
        isEmpty,
      })
    : undefined;
  const hostKeys = /^\/(?:host-scans|known-hosts|segments\/\d+\/host-trust)/.test(path)
    ? hostKeysAnswer(request.method ?? '', path, url.searchParams, await bodyOf(request), isEmpty)
    : undefined;
  const files = path.startsWith('/files')
    ? filesAnswer(request.method ?? '', path, url.searchParams, { ...(await contentOf(request)), isEmpty })
    : undefined;
  const answer =
    files ?? places ?? hostKeys ?? peopleAnswer(request.method ?? '', path, url.searchParams, isEmpty);
  if (answer?.status === 204) return void response.writeHead(204).end();
  if (answer !== undefined) return json(response, answer.status, answer.body);
  const runRoute = /^\/runs\/(\d+)(.*)$/.exec(path);
  if (runRoute !== null) return runApi(request, response, url, Number(runRoute[1]), runRoute[2] ?? '');
  if (
    /^(?:GET|POST) \/(?:jobs|job-imports)(?:\/(?:counts|labels|bulk))?$/.test(route) &&
    route !== 'POST /jobs'
  ) {
    const body = request.method === 'POST' ? await bodyOf(request) : {};
    const found = jobsAnswer(route, url.searchParams, body, isEmpty ? [] : [...jobs, ...starters]);
    if (found !== undefined) return json(response, found.status, found.body);
  }
  const ruled = path.startsWith('/site-rules') ? siteRulesAnswer(route, isEmpty) : undefined;
  if (ruled !== undefined) return json(response, ruled.status, ruled.body);
  const jobRoute = /^\/jobs\/(\d+)(\/.+)?$/.exec(path);
  if (jobRoute !== null) {
    const job = [...jobs, ...starters].find((one) => one.id === Number(jobRoute[1]));
    if (job === undefined) return fail(response, 404, 'not_found', 'There is no such job.');
    if (jobRoute[2] === '/run') return json(response, 201, runs.get(4127)?.run);
    if (jobRoute[2] !== undefined) {
      const found = jobPartsAnswer(editedJob(job), jobRoute[2], url.searchParams);
      return found === undefined
        ? fail(response, 404, 'not_found', 'There is no such path on this server.')
        : json(response, found.status, found.body);
    }
    if (request.method !== 'PUT') return json(response, 200, editedJob(job));
    const saved = saveAnswer(job, await bodyOf(request), scenario === 'conflict');
    return json(response, saved.status, saved.body);
  }
  const targetRoute = /^\/targets\/(\d+)\/(test|host-keys|effective-settings)$/.exec(path);
  if (targetRoute !== null) return targetApi(response, Number(targetRoute[1]), targetRoute[2] ?? '');
  const oneTarget = /^\/targets\/(\d+)$/.exec(path);
  if (oneTarget !== null) {
    const target = isEmpty ? undefined : manyTargets.find(({ id }) => id === Number(oneTarget[1]));
    if (target === undefined) return fail(response, 404, 'not_found', 'Target not found.');
    return json(response, 200, target);
  }
  const agentRoute = /^\/agents\/(\d+)(\/[a-z]+)?$/.exec(path);
  if (agentRoute !== null) {
    const detail = agentDetail(Number(agentRoute[1]), scenario === 'empty');
    return detail === undefined
      ? fail(response, 404, 'not_found', 'Agent not found.')
      : json(response, 200, detail);
  }
  const segmentRoute = /^\/segments\/(\d+)(\/unknown-after)?$/.exec(path);
  if (segmentRoute !== null) {
    const segment = segmentsOf(scenario).find(({ id }) => id === Number(segmentRoute[1]));
    if (segment === undefined) return fail(response, 404, 'not_found', 'Segment not found.');
    const change = request.method === 'PUT' ? await bodyOf(request) : {};
    return json(response, 200, { ...segment, ...change });
  }
  const enroll = /^\/segments\/(\d+)\/enrollment-tokens(?:\/(\d+))?$/.exec(path);
  if (enroll !== null) {
    const segmentId = Number(enroll[1]);
    if (request.method === 'POST')
      return json(response, 201, enrollmentToken(segmentId, scenario === 'expiring'));
    if (request.method === 'GET') {
      if (scenario === 'tokenless') return fail(response, 500, 'internal', 'Internal error.');
      return json(response, 200, { items: isEmpty ? [] : unusedTokens(segmentId) });
    }
    if (!revokeToken(Number(enroll[2])))
      return fail(
        response,
        409,
        'conflict',
        'An agent has already used this token. Revoke that agent instead.',
      );
    return void response.writeHead(204).end();
  }
  switch (route) {
    case 'POST /sign-out':
      signedIn = false;
      return void response.writeHead(204).end();
    case 'POST /jobs': {
      const made = createAnswer(await bodyOf(request), jobs[0]);
      return json(response, made.status, made.body);
    }
    case 'GET /runs': {
      const wanted = url.searchParams.get('status')?.split(',');
      return json(
        response,
        200,
        page(
          [...runs.values()]
            .map((one) => one.run)
            .filter((run) => wanted === undefined || wanted.includes(run.status)),
        ),
      );
    }
    case 'GET /jobs/health':
      return json(response, 200, jobsHealth(isEmpty));
    case 'GET /segments':
      return json(response, 200, segmentPage(url.searchParams, scenario));
    case 'GET /agents':
      return json(response, 200, agentPage(url.searchParams, scenario));
    case 'GET /targets':
      return json(response, 200, targetPage(url.searchParams));
    case 'GET /credentials':
      return json(response, 200, page(credentials));
    case 'GET /executor/overview':
      return json(response, 200, overview(scenario === 'empty'));
    default:
      return fail(response, 404, 'not_found', 'There is no such path on this server.');
  }
}

/** Makes the overview; with `isEmpty`, no step is held. */
function overview(isEmpty: boolean): ExecutorOverview {
  const having = (health: Segment['health']) =>
    segmentsOf(scenario).filter((one) => one.health === health).length;
  return {
    segments: {
      healthy: having('healthy'),
      degraded: having('degraded'),
      offline: having('offline'),
      no_agent: having('no_agent'),
    },
    heldSteps: isEmpty ? 0 : 3,
  };
}

function keyStateOf({ hostKeys }: Target): string {
  return (
    ['changed', 'accepted', 'pending'].find((state) => hostKeys.some((key) => key.state === state)) ?? 'none'
  );
}

function targetPage(query: URLSearchParams) {
  const search = query.get('search')?.toLowerCase() ?? '';
  const selector = query.get('selector');
  const wanted = selector === null ? undefined : parseSelector(selector);
  const fits = (scenario === 'empty' ? [] : manyTargets).filter(
    (one) =>
      `${one.name} ${one.host}`.includes(search) &&
      (query.get('health') ?? one.health) === one.health &&
      (query.get('hostKey') ?? keyStateOf(one)) === keyStateOf(one) &&
      (query.get('operatingSystem') ?? one.operatingSystem) === one.operatingSystem &&
      (query.get('segmentId') ?? String(one.segmentId)) === String(one.segmentId) &&
      (wanted === undefined ||
        matchesSelector(wanted, {
          ...one,
          segment: one.segmentName,
          groups: one.groups.map(({ name }) => name),
        })),
  );
  const from = Number(query.get('cursor') ?? 0);
  const to = from + Number(query.get('limit') ?? 50);
  return {
    items: fits.slice(from, to),
    nextCursor: to < fits.length ? String(to) : null,
    ...(query.get('count') === 'true' ? { total: fits.length } : {}),
  };
}

function effectiveSettings(targetId: number) {
  const group = { kind: 'group', id: 1, name: 'Web servers' };
  const builtIn = { kind: 'default', id: null, name: '' };
  const setting = (
    name: string,
    value: string | number | null,
    display: string,
    source: object,
    overridden: object[] = [],
  ) => ({
    name,
    value,
    display,
    source,
    overridden,
    problem: null,
  });
  return {
    targetId,
    jobId: null,
    stepNumber: null,
    settings: [
      setting('protocol', 'ssh', 'ssh', builtIn),
      setting('port', 2222, '2222', { kind: 'target', id: targetId, name: '' }, [
        { value: 22, display: '22', source: builtIn },
      ]),
      setting('username', null, 'from the credential', builtIn),
      setting('connect_timeout', 30, '30 s', group, [
        { value: 20, display: '20 s', source: { kind: 'segment', id: 1, name: 'dmz-1' } },
        { value: 10, display: '10 s', source: builtIn },
      ]),
      setting('keepalive_interval', 15, '15 s', builtIn),
      setting('credential', credentials[0]?.id ?? null, 'web-patch', {
        kind: 'segment',
        id: 1,
        name: 'dmz-1',
      }),
    ],
  };
}

function targetApi(response: ServerResponse, id: number, what: string) {
  const target = targets.find((one) => one.id === id);
  if (what === 'effective-settings') return json(response, 200, effectiveSettings(id));
  if (target === undefined || what === 'host-keys') return json(response, 200, target);
  const accepted = target.hostKeys.find((key) => key.state === 'accepted')?.fingerprint;
  const changed = target.hostKeys.find((key) => key.state === 'changed')?.fingerprint;
  const offered = target.hostKeys.at(-1)?.fingerprint ?? null;
  const result =
    changed !== undefined
      ? {
          ok: false,
          reason: 'host_key_mismatch',
          message: `${target.name} offers another key than the one accepted.`,
          advice: 'Compare it on the host’s own console before you replace it.',
        }
      : accepted === undefined
        ? {
            ok: false,
            reason: 'host_key_unknown',
            message: 'No key of this host is accepted yet.',
            advice: 'Compare the fingerprint and accept it.',
          }
        : id % 3 === 0
          ? {
              ok: false,
              reason: 'auth_failed',
              message: 'The host refused the key of user patch.',
              advice: 'Add the public key to authorized_keys.',
            }
          : { ok: true, reason: null, message: `${target.host} accepts user patch.`, advice: null };
  json(response, 200, {
    ...result,
    agentName: 'dmz-1-a',
    offeredFingerprint: offered,
    acceptedFingerprints: accepted === undefined ? [] : [accepted],
    serverVersion: 'OpenSSH_9.6',
    latencyMs: 41,
  });
}

function runApi(request: IncomingMessage, response: ServerResponse, url: URL, id: number, rest: string) {
  const found = runs.get(id);
  if (found === undefined) return fail(response, 404, 'not_found', `There is no run ${id}.`);
  if (rest === '') return json(response, 200, found.run);
  const from = Number(url.searchParams.get('cursor') ?? 0);
  if (rest === '/target-runs') {
    const to = from + Number(url.searchParams.get('limit') ?? 50);
    const nextCursor = to < found.targetRuns.length ? String(to) : null;
    return json(response, 200, { items: found.targetRuns.slice(from, to), nextCursor });
  }
  const { searchParams } = url;
  const asked = (searchParams.get('targetRunIds') ?? searchParams.get('targetRunId'))?.split(',').map(Number);
  if (rest === '/steps' && asked !== undefined) {
    if (scenario === 'stepless') return fail(response, 500, 'internal', 'Internal error.');
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
  const outcome = outcomesAnswer(request.method ?? '', rest, found, { mayDecide: who === 'admin' });
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

async function file(response: ServerResponse, path: string) {
  const name = path.startsWith('/assets/') || path === '/favicon.svg' ? path : '/index.html';
  const body = await readFile(join(dist, name)).catch(() => undefined);
  if (body === undefined) return void response.writeHead(404).end();
  response.writeHead(200, {
    'content-type': types[extname(name)] ?? 'application/octet-stream',
    'content-security-policy': policy,
  });
  response.end(body);
}

createServer((request, response) => {
  const url = new URL(request.url ?? '/', `http://127.0.0.1:${port}`);
  if (url.pathname.startsWith('/dev/')) {
    const name = url.pathname.slice(5);
    if (name === 'signed-out') signedIn = false;
    else if (name === 'signed-in') signedIn = true;
    else if (name.startsWith('as-')) who = name.slice(3);
    else if (name === 'live') live.begin();
    else scenario = name;
    response.end('ok\n');
  } else if (url.pathname.startsWith('/api/')) api(request, response, url).catch(() => response.destroy());
  else void file(response, url.pathname);
}).listen(port, '127.0.0.1', () => console.log(`mock API on http://127.0.0.1:${port}`));
