// Checks for processes left behind on the target.
import { readdir, readFile } from 'node:fs/promises';
import type { Violation } from './check-round.ts';
import type { Cluster } from './cluster.ts';
import type { RoundFacts, StepFacts } from './round-facts.ts';
import { patiently, signalPid, until } from './waiting.ts';

/** How long a connected agent may take to clean up. */
const cleanUpMs = 30_000;

/** Returns processes of this system's steps (not of other systems on the machine) by their attempt: `step.epoch`. */
export async function processesOnTarget({ installationId }: Cluster): Promise<Map<string, number[]>> {
  const found = new Map<string, number[]>();
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const environment = await readFile(`/proc/${name}/environ`, 'latin1').catch(() => '');
    const [, marker = ''] = /(?:^|\0)OPSCONDUCTOR_ATTEMPT=([\w.-]+)(?:\0|$)/.exec(environment) ?? [];
    if (!marker.startsWith(`${installationId}.`)) continue;
    const attempt = marker.slice(installationId.length + 1);
    found.set(attempt, [...(found.get(attempt) ?? []), Number(name)]);
  }
  return found;
}

/** Checks that attempts known to have ended left nothing behind; gives processes that are ending a moment. */
export async function checkLeftovers(cluster: Cluster, facts: RoundFacts): Promise<Violation[]> {
  const certain = new Map<string, StepFacts>();
  for (const step of facts.steps) {
    for (const attempt of step.attempts) {
      const status = attempt.lateStatus ?? attempt.status;
      const isCertain = status !== 'unknown' && (attempt.survivors?.length ?? 0) === 0;
      if (isCertain) certain.set(`${step.id}.${attempt.epoch}`, step);
    }
  }
  let left: [string, number[]][] = [];
  const isClean = async () => {
    left = [...(await processesOnTarget(cluster))].filter(([attempt]) => certain.has(attempt));
    return left.length === 0;
  };
  await until('nothing is left on the target', isClean, 2_000).catch(() => undefined);
  return Promise.all(
    left.map(async ([attempt, pids]) => {
      const step = certain.get(attempt);
      const living = await Promise.all(pids.map(describe));
      const text = `attempt ${attempt} has ended ${step?.status} and of it there live ${living.join('; ')}`;
      const about = step === undefined ? {} : { runId: step.jobRunId, stepId: step.id };
      return { rule: 'leftovers', text, ...about };
    }),
  );
}

async function describe(pid: number): Promise<string> {
  const [command, status] = await Promise.all(
    ['cmdline', 'status'].map((file) => readFile(`/proc/${pid}/${file}`, 'latin1').catch(() => '')),
  );
  const state = /State:\s+(\w)/.exec(status ?? '')?.[1] ?? 'gone';
  const parent = /PPid:\s+(\d+)/.exec(status ?? '')?.[1] ?? '?';
  return `${pid} (${state}, of ${parent}) ${command?.replaceAll('\0', ' ')}`;
}

/** Returns attempts that an agent still has to clean up after: `step.epoch` → when that became due, in ms. */
export async function openCleanUps({ sql }: Cluster): Promise<Map<string, { dueMs: number; text: string }>> {
  const rows = await patiently(
    () => sql<{ attempt: string; dueMs: number; row: unknown }[]>`
      select c.job_run_step_id || '.' || c.epoch as attempt,
        (extract(epoch from clock_timestamp() - c.due_at) * 1000)::float8 as due_ms, to_jsonb(c) as row
      from attempt_clean_ups c where c.done_at is null`,
  );
  return new Map(rows.map(({ attempt, dueMs, row }) => [attempt, { dueMs, text: JSON.stringify(row) }]));
}

/** Checks that the next agent cleans up in time after attempts that were cut off, in this round or earlier ones. */
export async function checkCleanUps(cluster: Cluster): Promise<Violation[]> {
  const open = await openCleanUps(cluster);
  const found: Violation[] = [];
  for (const [attempt, pids] of await processesOnTarget(cluster)) {
    const { dueMs, text } = open.get(attempt) ?? { dueMs: 0, text: '' };
    if (dueMs < cleanUpMs) continue;
    found.push({ rule: 'clean-up', text: `processes ${pids} of attempt ${attempt} live: ${text}` });
    // Reported once.
    for (const pid of pids) signalPid(pid, 'SIGKILL');
  }
  return found;
}
