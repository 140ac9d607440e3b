// Puts load on a cluster while its servers come and go, and checks what must hold afterwards.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Cluster } from './cluster.ts';
import type { RunReader } from './run-reader.ts';

/** Lines that each step prints. It also records on the target that it ran, by step and try. */
const lines = 40;
const stepsPerRun = 2;

export interface LoadReport {
  runs: number;
  steps: number;
  /** Number of steps by status. */
  statuses: Record<string, number>;
  /** Why steps did not succeed. */
  reasons: string[];
  /** Effects on the target, and those that occurred more than once. */
  effects: number;
  doubled: number;
  missing: number;
  /** Streams whose complete output arrived in order, and connections that broke meanwhile. */
  wholeStreams: number;
  breaks: number;
  /** Steps whose stored output differs from what they wrote, and attempts whose output is incomplete. */
  wrongOutputs: number;
  incompleteOutputs: number;
  attemptsAgain: number;
  /** Requests answered with an error by the load balancer or the server. */
  failedRequests: number;
}

/**
 * Starts runs, with `atATime` open at once, until `over` returns true; then waits for all of them and checks
 * everything.
 */
export async function runUnderLoad(
  t: Cluster,
  { atATime, over }: { atATime: number; over: () => boolean },
): Promise<LoadReport> {
  const effectsFile = join(t.sshd.dir, 'effects');
  const command = [
    `echo "$OPSCONDUCTOR_ATTEMPT" >> ${effectsFile}`,
    `n=0; while [ $n -lt ${lines} ]; do echo "line $n"; n=$((n+1)); [ $((n % 10)) -ne 0 ] || sleep 0.2; done`,
  ].join('\n');
  const job = await t.api.made<{ id: number }>('/api/v1/jobs', {
    name: 'load',
    steps: Array.from({ length: stepsPerRun }, (_, n) => ({
      name: `step ${n + 1}`,
      type: 'ssh.exec',
      config: { command },
    })),
  });
  const readers = new Map<number, RunReader>();
  let failedRequests = 0;
  const oneAfterTheOther = async () => {
    while (!over()) {
      const reply = await t.api
        .post<{ id: number }>(`/api/v1/jobs/${job.id}/run`, { targetIds: [t.targetId] })
        .catch(() => undefined);
      if (reply === undefined || reply.status >= 300) {
        failedRequests += 1;
        await delay(100);
        continue;
      }
      const reader = t.read(reply.body.id);
      readers.set(reply.body.id, reader);
      await reader.end();
    }
  };
  await Promise.all(Array.from({ length: atATime }, oneAfterTheOther));
  return { ...(await lookAtAll(t, job.id, readers, effectsFile)), failedRequests };
}

async function lookAtAll(
  t: Cluster,
  jobId: number,
  readers: ReadonlyMap<number, RunReader>,
  effectsFile: string,
): Promise<Omit<LoadReport, 'failedRequests'>> {
  const { sql } = t.database;
  // Includes runs whose start request got no answer.
  await waitFor(async () => {
    const [row] = await sql<{ open: number }[]>`
      select count(*)::int as open from job_runs where job_id = ${jobId} and status in ('queued', 'running')`;
    return row?.open === 0;
  });
  const steps = await sql<
    { id: number; jobRunId: number; status: string; epoch: number; outputState: string; why: string }[]
  >`
    select s.id, s.job_run_id, s.status, s.epoch, s.output_state,
      concat_ws(' ', s.status, s.reason, s.exit_code, s.error_message) as why from job_run_steps s
    join job_runs r on r.id = s.job_run_id where r.job_id = ${jobId}`;
  const effects = (await readFile(effectsFile, 'utf8')).trim().split('\n');
  const times = new Map<string, number>();
  for (const line of effects) {
    const step = line.split('.').at(-2) ?? line;
    times.set(step, (times.get(step) ?? 0) + 1);
  }
  const text = Array.from({ length: lines }, (_, n) => `line ${n}\n`).join('');
  const expected = createHash('sha256').update(text).digest('hex');
  const statuses: Record<string, number> = {};
  const report = { wholeStreams: 0, wrongOutputs: 0, incompleteOutputs: 0, missing: 0, attemptsAgain: 0 };
  for (const step of steps) {
    statuses[step.status] = (statuses[step.status] ?? 0) + 1;
    if (!times.has(String(step.id))) report.missing += 1;
    if (step.outputState !== 'complete') report.incompleteOutputs += 1;
    if (step.epoch > 1) report.attemptsAgain += 1;
    const stored = await t.api.get(`/api/v1/runs/${step.jobRunId}/steps/${step.id}/output?format=raw`);
    if (stored.text !== text) report.wrongOutputs += 1;
  }
  for (const [runId, reader] of readers) {
    const own = steps.filter((step) => step.jobRunId === runId);
    if (own.every((step) => reader.sha256(step.id) === expected)) report.wholeStreams += 1;
  }
  return {
    ...report,
    reasons: steps.filter(({ status }) => status !== 'succeeded').map(({ why }) => why),
    runs: new Set(steps.map((step) => step.jobRunId)).size,
    steps: steps.length,
    statuses,
    effects: effects.length,
    doubled: [...times.values()].filter((count) => count > 1).length,
    breaks: [...readers.values()].reduce((sum, reader) => sum + reader.breaks, 0),
  };
}

async function waitFor(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 120_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error('runs did not end in time');
    await delay(200);
  }
}
