// Stored output against what the commands were made to say; and processes that were left behind on the target.
import { readdir, readFile } from 'node:fs/promises';
import type { ApiReply } from '../support/api-client.ts';
import type { Violation } from './check-round.ts';
import { type Cluster, pause, until } from './cluster.ts';
import type { AttemptFacts, RoundFacts, StepFacts } from './round-facts.ts';
import { expectedOutput } from './step-command.ts';

const atOnce = 6;
const maxReads = 10;

/** @param diskLost ids of the agents whose disk was lost in the round. */
export async function checkOutput(
  cluster: Cluster,
  facts: RoundFacts,
  diskLost: ReadonlySet<number>,
): Promise<Violation[]> {
  const found: Violation[] = [];
  const waiting = facts.steps.flatMap((step) => step.attempts.map((attempt) => ({ step, attempt })));
  const work = async () => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const texts = await wrongOutput(cluster, next.step, next.attempt, diskLost);
      const { id, jobRunId } = next.step;
      for (const text of texts) {
        const about = `step ${id} attempt ${next.attempt.epoch} (${next.attempt.status}, ${next.attempt.reason})`;
        found.push({ rule: 'output', text: `${about}: ${text}`, runId: jobRunId, stepId: id });
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return found;
}

async function wrongOutput(
  cluster: Cluster,
  step: StepFacts,
  attempt: AttemptFacts,
  diskLost: ReadonlySet<number>,
): Promise<string[]> {
  const wrong: string[] = [];
  const hasGaps = attempt.outputState === 'gapped';
  if (hasGaps && !diskLost.has(attempt.agentId)) wrong.push('it is gapped, and no disk was lost');
  if (attempt.outputState === 'open') wrong.push('it is open still');
  const expected = expectedOutput(step.planned, { key: step.key, blob: cluster.blob });
  const isWhole = attempt.exitCode !== null && attempt.outputState === 'complete';
  for (const stream of ['stdout', 'stderr'] as const) {
    const path = `/api/v1/runs/${step.jobRunId}/steps/${step.id}/output?format=raw&attempt=${attempt.epoch}&stream=${stream}`;
    const reply = await read(cluster, step.id, path);
    if (reply.status !== 200) {
      wrong.push(`${stream} was answered ${reply.status}: ${reply.text.slice(0, 200)}`);
      continue;
    }
    const stored = Buffer.from(reply.text, 'latin1');
    const same = isWhole
      ? stored.equals(expected[stream])
      : expected[stream].subarray(0, stored.length).equals(stored);
    // Where a disk was lost, what is there may have a hole.
    if (!same && !hasGaps)
      wrong.push(
        `${stream} has ${stored.length} bytes, ${isWhole ? 'not' : 'no prefix of'} the ${expected[stream].length} that were said`,
      );
  }
  return wrong;
}

/** A server that has just lost its database says so; a reader asks again. */
async function read(cluster: Cluster, member: number, path: string): Promise<ApiReply<unknown>> {
  for (let tries = 1; ; tries += 1) {
    const reply = await cluster.api(member + tries).get(path);
    if (reply.status < 500 || tries === maxReads) return reply;
    await pause(200);
  }
}

/** Processes on the target by the attempt that they belong to, `step.epoch`. */
export async function processesOnTarget(): Promise<Map<string, number[]>> {
  const found = new Map<string, number[]>();
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const environment = await readFile(`/proc/${name}/environ`, 'latin1').catch(() => '');
    const [, attempt] = /(?:^|\0)OPSCONDUCTOR_ATTEMPT=[\w-]+\.(\d+\.\d+)(?:\0|$)/.exec(environment) ?? [];
    if (attempt !== undefined) found.set(attempt, [...(found.get(attempt) ?? []), Number(name)]);
  }
  return found;
}

/** What ended for certain has left nothing behind; a process that is just ending is given a moment. */
export async function checkLeftovers(facts: RoundFacts): Promise<Violation[]> {
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
    left = [...(await processesOnTarget())].filter(([attempt]) => certain.has(attempt));
    return left.length === 0;
  };
  await until('nothing is left on the target', isClean, 2_000).catch(() => undefined);
  return left.map(([attempt, pids]) => {
    const step = certain.get(attempt);
    const text = `attempt ${attempt} has ended ${step?.status} and processes ${pids} of it live`;
    return step === undefined
      ? { rule: 'leftovers', text }
      : { rule: 'leftovers', text, runId: step.jobRunId, stepId: step.id };
  });
}
