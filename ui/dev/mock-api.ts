// A stand-in for the server for work on the console: `npx tsx ui/dev/mock-api.ts [port]` serves ui/dist with the
// server's content security policy, and fixtures. POST /dev/<scenario> switches to full, empty, slow, failing or down,
// to refusing (what changes something fails), stepless (steps of single hosts can't be read), expiring (enrollment
// tokens expire at once), tokenless (they can't be listed), many (2,000 segments with their agents), enrolled or
// connected (another agent has appeared); POST /dev/live starts run 6002 again; POST /dev/as-<admin|newcomer|scoped|
// nobody> changes who is signed in. With DELAY_MS=N, reads are answered one after the other, after N to 5 N ms, to see what moves
// while a page loads.
import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { extname, join } from 'node:path';
import type { ExecutorOverview, ExecutorStatus, Segment } from '@opsconductor/protocol';
import { createAnswer, editedJob, saveAnswer } from './editor-api.ts';
import { enrollmentToken, revokeToken, unusedTokens } from './enrollment-api.ts';
import { filesAnswer } from './files-api.ts';
import { agentDetail, credentials, jobs, me } from './fixtures.ts';
import { hostKeysAnswer } from './host-keys-api.ts';
import { jobPartsAnswer } from './job-parts-api.ts';
import { jobsAnswer } from './jobs-api.ts';
import { jobsHealth } from './jobs-health.ts';
import { meAs, peopleAnswer } from './people-api.ts';
import { placesAnswer } from './places-api.ts';
import { bodyOf, contentOf, contentSecurityPolicy, fail, json } from './replies.ts';
import { live, runApi, runs } from './runs-api.ts';
import { agentPage, segmentPage, segmentsOf } from './segments-api.ts';
import { siteRulesAnswer } from './site-rules-api.ts';
import { starters } from './starters.ts';
import { manyTargets, targetAnswer, targetPage } from './targets-api.ts';

const port = Number(process.argv[2] ?? 7711);
const delayMs = Number(process.env.DELAY_MS ?? 0);
const dist = process.env.DIST ?? join(import.meta.dirname, '../dist');
const types: Record<string, string> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.svg': 'image/svg+xml',
};

let scenario = 'full';
let signedIn = true;
let who = 'admin';

const expiresBy = (day: string | null) => (one: { expiresOn: string | null }) =>
  day === null || (one.expiresOn !== null && one.expiresOn <= day);
const byExpiry = (a: { expiresOn: string | null }, b: { expiresOn: string | null }) =>
  (a.expiresOn ?? '~') < (b.expiresOn ?? '~') ? -1 : 1;
const page = <T>(items: T[]) => ({ items: scenario === 'empty' ? [] : items, nextCursor: null });

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
  if (runRoute !== null) {
    const [, id, rest = ''] = runRoute;
    const seen = { hasSteps: scenario !== 'stepless', mayDecide: who === 'admin' };
    return runApi(request, response, url, { id: Number(id), rest, ...seen });
  }
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
  if (targetRoute !== null)
    return json(response, 200, targetAnswer(Number(targetRoute[1]), targetRoute[2] ?? ''));
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
  if (/^GET \/segments\/\d+\/recovery$/.test(route))
    return json(response, 200, { recoveryKey: 'bW9jaw==', wraps: [{ generation: 1, wrapped: 'bW9jaw==' }] });
  const segmentRoute = /^\/segments\/(\d+)(\/unknown-after)?$/.exec(path);
  if (segmentRoute !== null) {
    const segment = segmentsOf(scenario).find(({ id }) => id === Number(segmentRoute[1]));
    if (segment === undefined) return fail(response, 404, 'not_found', 'Segment not found.');
    if (request.method === 'DELETE')
      return fail(response, 409, 'conflict', `Runs on targets of segment “${segment.name}” are still kept.`);
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
      return json(response, 200, targetPage(url.searchParams, isEmpty));
    case 'GET /executor/status':
      return json(response, 200, queue(isEmpty));
    case 'GET /credentials': {
      const found = credentials.filter(expiresBy(url.searchParams.get('expiresBy')));
      const isSorted = url.searchParams.get('sort') === 'expiry';
      return json(response, 200, page(isSorted ? found.toSorted(byExpiry) : found));
    }
    case 'GET /executor/overview':
      return json(response, 200, overview(scenario === 'empty'));
    default:
      return fail(response, 404, 'not_found', 'There is no such path on this server.');
  }
}

function queue(isEmpty: boolean): ExecutorStatus {
  const stuckSince = new Date(Date.now() - 126 * 60_000).toISOString();
  const segments = segmentsOf(scenario).map(({ id, name, health, waitingSteps }) => {
    const isUp = health === 'healthy' || health === 'degraded';
    return {
      ...{ id, name, ready: waitingSteps, running: isUp ? id * 3 : 0, ableAgents: isUp ? id : 0 },
      ...{ freeSlots: isUp ? 40 - id * 3 : 0, stuckSince: health === 'offline' ? stuckSince : null },
    };
  });
  return {
    status: isEmpty ? 'ok' : 'degraded',
    steps: { ready: 14, running: 9, held: 3 },
    runs: { queued: 2, running: 3, cancelling: 0 },
    oldestReadyMs: isEmpty ? null : 126 * 60_000,
    segments,
    problems: isEmpty
      ? []
      : [
          `Segment “plant-north”: 11 steps are ready, but no agent has been able to take them since ${stuckSince}. Agent plant-north-a is offline.`,
        ],
  };
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

async function file(response: ServerResponse, path: string) {
  const name = path.startsWith('/assets/') || path === '/favicon.svg' ? path : '/index.html';
  const body = await readFile(join(dist, name)).catch(() => undefined);
  if (body === undefined) return void response.writeHead(404).end();
  response.writeHead(200, {
    'content-type': types[extname(name)] ?? 'application/octet-stream',
    'content-security-policy': contentSecurityPolicy,
  });
  response.end(body);
}

export const mockApi = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://127.0.0.1');
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
});
if (process.argv[1] === import.meta.filename)
  mockApi.listen(port, '127.0.0.1', () => console.log(`mock API on http://127.0.0.1:${port}`));
