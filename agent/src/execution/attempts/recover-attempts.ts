// Restores attempts from what an earlier process of this agent left in the journal and the spool.
import { randomUUID } from 'node:crypto';
import { readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { StepOutcome } from '@opsconductor/protocol';
import type { Logger } from 'pino';
import type { Journal } from '../../journal/journal.ts';
import type { FinishedRecord, JournalRecord } from '../../journal/journal-record.ts';
import { attemptKey, type JournaledAttempt } from '../../journal/replay.ts';
import {
  isSetAside,
  openSpool,
  spoolOf,
  tellUnreadable,
  type UnreadableSpool,
} from '../../spool/open-spool.ts';
import { msSince } from '../../timing/machine-time.ts';
import { hasOutputFile, hasPrintedOutputs, toRemoveFiles } from '../step/step-outputs.ts';
import { Attempt, type Completion } from './attempt.ts';
import type { AttemptOutputs } from './attempt-outputs.ts';
import { withLoss } from './lost-output.ts';
import { leftOnTarget } from './remove-from-target.ts';

export interface RecoverOptions {
  journal: Journal;
  spoolFolder: string;
  outputs: Pick<AttemptOutputs, 'goOn'>;
  log: Logger;
}

/** Returns all attempts that were begun, and removes spool files that belong to none. */
export async function recoverAttempts(options: RecoverOptions): Promise<Attempt[]> {
  const { journal, spoolFolder, log } = options;
  const attempts: Attempt[] = [];
  const entries = await readdir(spoolFolder, { withFileTypes: true });
  const names = namesBySpool(entries.map(({ name }) => name));
  for (const journaled of [...journal.attempts.values()]) {
    const { step, epoch, startedAt, finished } = journaled;
    // It had not begun, and its configuration was lost with the process. Leaving it out of the resume returns it.
    if (startedAt === undefined && finished === undefined) journal.note({ is: 'settled', step, epoch });
    else attempts.push(await recoverAttempt(journaled, options, names.get(attemptKey(journaled)) ?? []));
  }
  const kept = new Set(attempts.map(attemptKey));
  for (const entry of entries) {
    // A directory is not ours: a file system that is mounted there has lost+found.
    if (kept.has(spoolOf(entry.name)) || entry.isDirectory() || isSetAside(entry.name)) continue;
    const path = join(spoolFolder, entry.name);
    await unlink(path).catch((error) =>
      log.warn({ err: error, path }, 'a file in the spool that no attempt needs could not be removed'),
    );
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
    ...leavesOf(attempt, outcome),
  };
  return { is: 'finished', step, epoch, requestId, interrupted, outcome, output: kept, ...more };
}

/** The lease of a command that outlives its process was recorded when it began. */
function leavesOf(attempt: Attempt, outcome: StepOutcome): Pick<FinishedRecord, 'leaves'> {
  if (attempt.survivingSinceMs !== undefined) return {};
  const left = leftOnTarget(attempt, outcome);
  return left === undefined ? {} : { leaves: toRemoveFiles(left.lease) };
}

async function recoverAttempt(
  journaled: JournaledAttempt,
  { journal, spoolFolder, outputs, log }: RecoverOptions,
  names: readonly string[],
): Promise<Attempt> {
  const { step, epoch, leaseToken, startedAt, machineTime, survives, takenOver, finished } = journaled;
  const before = takenOver?.output;
  const path = join(spoolFolder, attemptKey(journaled));
  const { spool, chunks, base = before, unreadable } = await openSpool(path, (before?.seq ?? 0) + 1, names);
  const keepsEnds = survives !== undefined && hasPrintedOutputs(survives);
  const output = outputs.goOn(journaled, spool, { base, recovered: chunks, keepsEnds });
  const known = survives ?? finished?.leaves;
  const lease = known === undefined ? {} : { lease: known };
  const attempt = new Attempt({ step, epoch, leaseToken, output, ...lease });
  attempt.collector = takenOver?.collector;
  attempt.hasOutputFile = survives === undefined ? known !== undefined : hasOutputFile(survives);
  if (survives !== undefined) {
    const agoMs = startedAt === undefined ? 0 : msSince(startedAt, machineTime);
    attempt.survivingSinceMs = performance.now() - agoMs;
  }
  if (survives !== undefined && finished === undefined) {
    if (unreadable !== undefined) logUnreadable(log, attempt, unreadable, 'it is read again from the target');
    attempt.state = 'running';
    attempt.toReattach = true;
    return attempt;
  }
  output.discard();
  attempt.state = finished === undefined || finished.interrupted ? 'interrupted' : 'finished';
  // How much was in a file that can't be read is not known if the attempt was interrupted: at least one chunk is missing.
  const lostSeq = unreadable === undefined || finished !== undefined ? 0 : output.lastSeq + 1;
  const lastSeq = Math.max(output.lastSeq, finished?.output.lastSeq ?? lostSeq);
  const outcome = finished?.outcome ?? interruptedOutcome;
  const isLost = unreadable !== undefined && lastSeq > output.lastSeq;
  if (unreadable !== undefined) {
    const consequence = isLost ? 'the attempt is reported with a gap' : 'the attempt had no output';
    logUnreadable(log, attempt, unreadable, consequence);
  }
  attempt.completion = {
    requestId: finished?.requestId ?? randomUUID(),
    outcome: isLost ? withLoss(outcome, tellUnreadable(unreadable)) : outcome,
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
  if (finished === undefined || isLost) await journal.durable(finishedRecord(attempt, attempt.completion));
  return attempt;
}

function namesBySpool(names: readonly string[]): Map<string, string[]> {
  const bySpool = new Map<string, string[]>();
  for (const name of names) {
    const spool = spoolOf(name);
    bySpool.set(spool, [...(bySpool.get(spool) ?? []), name]);
  }
  return bySpool;
}

function logUnreadable(
  log: Logger,
  { step, epoch }: Attempt,
  { error, path }: UnreadableSpool,
  consequence: string,
): void {
  log.error(
    { err: error, step, epoch, path },
    `the output that was kept of an attempt can not be read: ${consequence}; the file stays at this path`,
  );
}

export const interruptedOutcome: StepOutcome = {
  status: 'unknown',
  reason: 'agent_restarted',
  message: 'The agent was restarted while the step ran. Whether the step ended, and how, is not known.',
  advice: 'Check on the host what the step did before you run it again.',
};
