// Compares stored output with what the commands were told to print.
import type { ApiReply } from '../support/api-client.ts';
import type { Violation } from './check-round.ts';
import type { Cluster } from './cluster.ts';
import type { AttemptFacts, RoundFacts, StepFacts } from './round-facts.ts';
import { expectedOutput } from './step-command.ts';
import { pause } from './waiting.ts';

const atOnce = 6;
const maxReads = 10;

export interface LostDisk {
  agentId: number;
  /** From its end to the start of the agent that finds nothing. */
  fromMs: number;
  toMs: number;
}

export async function checkOutput(
  cluster: Cluster,
  facts: RoundFacts,
  lostDisks: readonly LostDisk[],
): Promise<Violation[]> {
  const found: Violation[] = [];
  const waiting = facts.steps.flatMap((step) => step.attempts.map((attempt) => ({ step, attempt })));
  const work = async () => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const texts = await wrongOutput(cluster, next.step, next.attempt, mayHaveGaps(facts, next, lostDisks));
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

/** Whether its agent's disk was lost between its lease and the moment from which the server had everything. */
function mayHaveGaps(
  { edges, isRestored }: RoundFacts,
  { step, attempt }: { step: StepFacts; attempt: AttemptFacts },
  lostDisks: readonly LostDisk[],
): boolean {
  // In the lost period, its agent may have reported everything and kept nothing.
  if (isRestored && attempt.status === 'unknown') return true;
  const own = edges.filter(
    ({ kind, rowId, epoch }) => kind === 'step' && rowId === step.id && epoch === attempt.epoch,
  );
  const leasedMs = own.find(({ to }) => to === 'running')?.at.getTime() ?? 0;
  // For an unknown attempt, the result and output may arrive at any later time.
  const isToldAtEnd = attempt.status !== 'unknown';
  const endedMs = isToldAtEnd ? own.find(({ from }) => from === 'running')?.at.getTime() : undefined;
  return lostDisks.some(
    ({ agentId, fromMs, toMs }) =>
      agentId === attempt.agentId && toMs >= leasedMs && fromMs <= (endedMs ?? Number.POSITIVE_INFINITY),
  );
}

async function wrongOutput(
  cluster: Cluster,
  step: StepFacts,
  attempt: AttemptFacts,
  mayHaveGap: boolean,
): Promise<string[]> {
  const wrong: string[] = [];
  const hasGaps = attempt.outputState === 'gapped';
  if (hasGaps && !mayHaveGap) wrong.push('it is gapped, and no disk was lost while it ran');
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
    // If a disk was lost, the output may have gaps.
    if (!same && !hasGaps)
      wrong.push(
        `${stream} has ${stored.length} bytes, ${isWhole ? 'not' : 'no prefix of'} the ${expected[stream].length} that were said`,
      );
  }
  return wrong;
}

/**
 * A server that has just lost its database says so, and a reader retries. A server that doesn't answer is a violation.
 */
async function read(
  cluster: Cluster,
  member: number,
  path: string,
): Promise<Pick<ApiReply<unknown>, 'status' | 'text'>> {
  for (let tries = 1; ; tries += 1) {
    const reply = await cluster
      .api(member + tries)
      .get(path)
      .catch((error: Error) => ({ status: 0, text: error.message }));
    if (reply.status < 500 || tries === maxReads) return reply;
    await pause(200);
  }
}
