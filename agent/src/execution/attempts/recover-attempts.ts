// Restores attempts from what an earlier process of this agent left in the journal and the spool.
import { randomUUID } from 'node:crypto';
import { readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { StepOutcome } from '@opsconductor/protocol';
import type { Journal } from '../../journal/journal.ts';
import type { JournalRecord } from '../../journal/journal-record.ts';
import { attemptKey, type JournaledAttempt } from '../../journal/replay.ts';
import { SpoolFile } from '../../spool/spool-file.ts';
import { hasOutputFile } from '../step/step-outputs.ts';
import { Attempt, type Completion } from './attempt.ts';
import type { AttemptOutputs } from './attempt-outputs.ts';

export interface RecoverOptions {
  journal: Journal;
  spoolFolder: string;
  outputs: Pick<AttemptOutputs, 'goOn'>;
}

/** Returns all attempts that were begun, and removes spool files that belong to none. */
export async function recoverAttempts(options: RecoverOptions): Promise<Attempt[]> {
  const { journal, spoolFolder } = options;
  const attempts: Attempt[] = [];
  for (const journaled of [...journal.attempts.values()]) {
    const { step, epoch, startedAt, finished } = journaled;
    // It had not begun, and its configuration was lost with the process. Leaving it out of the resume returns it.
    if (startedAt === undefined && finished === undefined) journal.note({ is: 'settled', step, epoch });
    else attempts.push(await recoverAttempt(journaled, options));
  }
  const kept = new Set(attempts.map(attemptKey));
  for (const entry of await readdir(spoolFolder, { withFileTypes: true })) {
    // A directory is not ours: a file system that is mounted there has lost+found.
    if (!kept.has(entry.name) && !entry.isDirectory()) await unlink(join(spoolFolder, entry.name));
  }
  return attempts;
}

export function finishedRecord(
  attempt: Attempt,
  { requestId, outcome, output, handsOn, transfers }: Completion,
): JournalRecord {
  const { step, epoch } = attempt;
  const { lastSeq, rawBytes, truncated } = output;
  const interrupted = attempt.state === 'interrupted';
  const kept = { lastSeq, rawBytes, truncated };
  const more = {
    ...(handsOn === undefined ? {} : { handsOn }),
    ...(transfers === undefined ? {} : { transfers }),
  };
  return { is: 'finished', step, epoch, requestId, interrupted, outcome, output: kept, ...more };
}

async function recoverAttempt(
  journaled: JournaledAttempt,
  { journal, spoolFolder, outputs }: RecoverOptions,
): Promise<Attempt> {
  const { step, epoch, leaseToken, startedAt, survives, takenOver, finished } = journaled;
  const before = takenOver?.output;
  const path = join(spoolFolder, attemptKey(journaled));
  const { file, chunks } = await SpoolFile.recover(path, (before?.seq ?? 0) + 1);
  const output = outputs.goOn(journaled, file, chunks, before);
  const lease = survives === undefined ? {} : { lease: survives };
  const attempt = new Attempt({ step, epoch, leaseToken, output, ...lease });
  attempt.collector = takenOver?.collector;
  attempt.hasOutputFile = survives !== undefined && hasOutputFile(survives);
  if (survives !== undefined) attempt.survivingSince = new Date(startedAt ?? Date.now());
  if (survives !== undefined && finished === undefined) {
    attempt.state = 'running';
    attempt.toReattach = true;
    return attempt;
  }
  output.discard();
  attempt.state = finished === undefined || finished.interrupted ? 'interrupted' : 'finished';
  const lastSeq = Math.max(output.lastSeq, finished?.output.lastSeq ?? 0);
  attempt.completion = {
    requestId: finished?.requestId ?? randomUUID(),
    outcome: finished?.outcome ?? interruptedOutcome,
    output: {
      lastSeq,
      rawBytes: output.rawBytes,
      digest: output.digest,
      truncated: finished?.output.truncated ?? false,
      gaps: lastSeq > output.lastSeq ? [[output.lastSeq + 1, lastSeq]] : [],
    },
    ...(finished?.handsOn === undefined ? {} : { handsOn: finished.handsOn }),
    ...(finished?.transfers === undefined ? {} : { transfers: finished.transfers }),
  };
  // Durable before anything is reported, so that a later process reports it under the same request id.
  if (finished === undefined) await journal.durable(finishedRecord(attempt, attempt.completion));
  return attempt;
}

export const interruptedOutcome: StepOutcome = {
  status: 'unknown',
  reason: 'agent_restarted',
  message: 'The agent was restarted while the step ran. Whether the step ended, and how, is not known.',
  advice: 'Check on the host what the step did before you run it again.',
};
