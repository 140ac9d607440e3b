// All places where traces of runs can be read afterwards.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dumpRows, openAllAtRest, readMasterKey } from './open-at-rest.ts';
import type { TestSystem } from './system.ts';

export interface LookedAtRun {
  jobId: number;
  runId: number;
  steps: readonly { id: number }[];
  /** What the stream contained for each step. */
  streamed: readonly string[];
}

/** The content of each place, by its name. `parameters`: the values with which a preview is requested. */
export async function leakPlaces(
  t: TestSystem,
  runs: readonly LookedAtRun[],
  parameters: object,
): Promise<Record<string, string>> {
  const { text: opened } = await openAllAtRest(t.sql, await masterKeyOf(t));
  return {
    'the database': await dumpRows(t.sql),
    'the database, opened with the master key': opened,
    'the log of the server': t.server.output,
    'the log of the agent': t.agent.output,
    'the streams of the runs': runs.flatMap(({ streamed }) => streamed).join('\n'),
    'the API': (await Promise.all(runs.map((run) => toldOf(t, run, parameters)))).join('\n'),
    "the agent's journal and spool": filesIn(t.agent.dataDir),
  };
}

export function masterKeyOf(t: TestSystem) {
  return readMasterKey(`${t.serverDataDir}-keys/master-key.json`);
}

/** The concatenated files of folders, without those that were gone before they could be read. */
export function filesIn(dir: string): string {
  const listed = execFileSync('sh', ['-c', `find ${dir} -type f -print0`], { maxBuffer: 1 << 28 });
  return listed.toString().split('\0').map(readIfThere).join('');
}

function readIfThere(path: string): string {
  try {
    return path === '' ? '' : readFileSync(path, 'latin1');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return '';
  }
}

/** What the API says about a run and everything that happened, in all its formats. */
async function toldOf(
  t: TestSystem,
  { jobId, runId, steps }: LookedAtRun,
  parameters: object,
): Promise<string> {
  const paths = [
    ...['', '/steps', '/explain', '/events?output=all'].map((end) => `/api/v1/runs/${runId}${end}`),
    ...steps.flatMap(({ id }) => [
      `/api/v1/runs/${runId}/steps/${id}/transfers`,
      `/api/v1/runs/${runId}/steps/${id}/attempts`,
      `/api/v1/runs/${runId}/steps/${id}/output?format=text`,
    ]),
    `/api/v1/jobs/${jobId}`,
    `/api/v1/jobs/export?ids=${jobId}`,
    '/api/v1/audit/export?format=jsonl',
    '/api/v1/audit/export?format=csv',
    '/api/v1/runs',
  ];
  const read = await Promise.all(paths.map(async (path) => whole(path, await t.api.get(path))));
  const path = `/api/v1/jobs/${jobId}/preview`;
  const preview = await t.api.post(path, { targetId: t.targetId, parameters });
  return [...read, whole(path, preview)].join('\n');
}

/** Returns the body of an answer. Throws on a refusal, which contains nothing and would pass. */
function whole(path: string, { status, text }: { status: number; text: string }): string {
  if (status !== 200) throw new Error(`${path} was answered ${status}: ${text.slice(0, 300)}`);
  return text;
}
