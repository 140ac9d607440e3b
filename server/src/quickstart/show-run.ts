// Follows a run in the terminal, from the same stream that readers over HTTP get.
import { gunzipSync } from 'node:zlib';
import type { ChunkEvent, RunChange } from '@opsconductor/protocol';
import { RunStream } from '../runs/live/run-stream.ts';
import type { Services } from '../services.ts';
import type { Sql } from '../store/database/connection.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { listSteps, listTargetRuns } from '../store/runs/runs.ts';

/** Prints output and ends of steps as they arrive. Resolves with the run's status when it has ended. */
export async function showRun(
  deps: { sql: Sql; services: Pick<Services, 'hub' | 'keys'> },
  runId: number,
  stepNames: readonly string[],
  say: (line: string) => void,
): Promise<string> {
  const targetRuns = await listTargetRuns(deps.sql, { runId, above: 0, limit: 10 }, unrestricted);
  const steps = await listSteps(
    deps.sql,
    targetRuns.map((row) => row.id),
  );
  const nameOf = new Map(
    steps.map((step) => [step.id, stepNames[step.stepNumber - 1] ?? `step ${step.stepNumber}`]),
  );
  const stream = new RunStream(
    { sql: deps.sql, hub: deps.services.hub, keys: deps.services.keys },
    { runId, stepIds: steps.map((step) => step.id), position: { afterSeq: 0, output: new Map() } },
  );
  let status = 'queued';
  try {
    for (;;) {
      const text = (await stream.next(60_000))?.toString();
      if (text === undefined) return status;
      for (const event of text.split('\n\n')) {
        const shown = showEvent(event, nameOf, say);
        if (shown !== undefined) status = shown;
      }
    }
  } finally {
    stream.close();
  }
}

/** Prints what an event says. Returns the run's status if the event has it. */
export function showEvent(
  event: string,
  nameOf: ReadonlyMap<number, string>,
  say: (line: string) => void,
): string | undefined {
  const type = /^event: (\w+)$/m.exec(event)?.[1];
  const data = /^data: (.*)$/m.exec(event)?.[1];
  if (data === undefined) return undefined;
  if (type === 'chunk') {
    const chunk = JSON.parse(data) as ChunkEvent;
    const text = gunzipSync(Buffer.from(chunk.data, 'base64')).toString('utf8');
    for (const line of text.replace(/\n$/, '').split('\n')) {
      say(`  ${chunk.stream === 'stderr' ? 'err' : '   '} ${printable(line)}`);
    }
    return undefined;
  }
  if (type !== 'change') return undefined;
  const change = JSON.parse(data) as RunChange;
  for (const step of change.steps ?? []) {
    // A step that its agent had ahead of its turn is pending again if it is handed back.
    if (step.status === undefined || ['pending', 'ready', 'running'].includes(step.status)) continue;
    const exit = step.exitCode === undefined || step.exitCode === null ? '' : `, exit code ${step.exitCode}`;
    say(
      `  ${step.status === 'succeeded' ? '✓' : '✗'} ${nameOf.get(step.id) ?? step.id}: ${step.status}${exit}${step.errorMessage ? `: ${step.errorMessage}` : ''}`,
    );
  }
  return change.run?.status;
}

/** Output can be hostile to terminals, so control characters are shown in escaped form. */
function printable(line: string): string {
  return line.replace(/\p{Cc}/gu, (c) =>
    c === '\t' ? c : `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`,
  );
}
