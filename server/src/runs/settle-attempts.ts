// Settles attempts in batches: the step's outcome, what follows in its target run, and what that means for the run,
// in one transaction. A completion's next step is leased here, to the agent that completed.
import { randomBytes } from 'node:crypto';
import { isStepEnded, type OutputState, type StepOutcome, type StepStatus } from '@opsconductor/protocol';
import { holdCurrentSessions } from '../store/agent-sessions.ts';
import type { ClaimedStep } from '../store/claims.ts';
import type { Sql, Tx } from '../store/connection.ts';
import {
  annotateLateResult,
  attemptOf,
  closeWaitingSteps,
  lockStepsAndNext,
  lockTargetRuns,
  type NextLease,
  recordSshContexts,
  type SettledAttempt,
  type SettledStep,
  type StepRow,
  setStepStatus,
  type TargetRunRow,
  writeAttempts,
  writeNextLeases,
  writeSettledSteps,
} from '../store/run-progress.ts';
import { inTransaction } from '../store/transaction.ts';
import { type ProgressNews, RunLedger } from './run-ledger.ts';

/** Who says that an attempt has ended: its agent, or the server that gives it up. */
export type EndSource =
  | { kind: 'agent'; agentId: number; sessionNumber: number; requestId: string; wantsNext: boolean }
  | { kind: 'server' };

export interface AttemptEnd {
  stepId: number;
  epoch: number;
  leaseToken: string;
  source: EndSource;
  outcome: StepOutcome;
  output: { state: OutputState; digest: string | null; gaps: readonly (readonly [number, number])[] };
}

export interface SettleResult {
  stepId: number;
  epoch: number;
  result: 'settled' | 'superseded' | 'forget';
  next?: ClaimedStep;
}

interface Batch {
  tx: Tx;
  ledger: RunLedger;
  steps: Map<number, StepRow>;
  nextOf: Map<number, StepRow>;
  targetRuns: Map<number, TargetRunRow>;
  attempts: SettledAttempt[];
  settled: { step: StepRow; row: SettledStep }[];
  leases: NextLease[];
  readied: StepRow[];
  close: Map<'skipped' | 'cancelled', number[]>;
}

/** Settles every attempt that is current; answers for each what the agent is to do with it. */
export async function settleAttempts(
  sql: Sql,
  ends: readonly AttemptEnd[],
): Promise<{ results: SettleResult[]; news: ProgressNews }> {
  return inTransaction(sql, async (tx) => {
    const stepIds = [...new Set(ends.map((end) => end.stepId))];
    // Sent together and answered in this order, which is the lock order: agents, runs, target runs, steps.
    const [sessions, ledger, targetRuns, rows] = await Promise.all([
      holdCurrentSessions(
        tx,
        ends.flatMap(({ source }) =>
          source.kind === 'agent' ? [{ agentId: source.agentId, sessionNumber: source.sessionNumber }] : [],
        ),
      ),
      RunLedger.open(tx, { stepIds }),
      lockTargetRuns(tx, stepIds),
      lockStepsAndNext(tx, stepIds),
    ]);
    const batch = newBatch(tx, ledger, targetRuns, rows);
    const results: SettleResult[] = [];
    const current: AttemptEnd[] = [];
    const seen = new Set<number>();
    for (const end of ends) {
      if (isCurrent(end, batch.steps.get(end.stepId), sessions) && !seen.has(end.stepId)) {
        seen.add(end.stepId);
        current.push(end);
      }
    }
    for (const end of current) decide(batch, end);
    const leased = leaseNext(batch);
    for (const { step, row } of batch.settled) noteSettled(ledger, step, row);
    // Attempts are written from the live step rows, so before these change; the ledger once all is known.
    await Promise.all([writeAttempts(tx, batch.attempts), writeSteps(batch), recordContexts(batch, current)]);
    const news = await ledger.write();
    for (const end of ends) results.push(await resultOf(batch, end, current, leased));
    return { results, news };
  });
}

function newBatch(
  tx: Tx,
  ledger: RunLedger,
  targetRuns: readonly TargetRunRow[],
  rows: readonly StepRow[],
): Batch {
  const byPlace = new Map(rows.map((row) => [`${row.targetRunId}.${row.stepNumber}`, row]));
  const nextOf = new Map<number, StepRow>();
  for (const row of rows) {
    const next = byPlace.get(`${row.targetRunId}.${row.stepNumber + 1}`);
    if (next !== undefined) nextOf.set(row.id, next);
  }
  return {
    tx,
    ledger,
    steps: new Map(rows.map((row) => [row.id, row])),
    nextOf,
    targetRuns: new Map(targetRuns.map((row) => [row.id, row])),
    attempts: [],
    settled: [],
    leases: [],
    readied: [],
    close: new Map(),
  };
}

/** The fence: epoch, random token, agent and session must all be those of the live lease, the session its newest. */
function isCurrent(end: AttemptEnd, step: StepRow | undefined, sessions: ReadonlySet<string>): boolean {
  if (step === undefined || step.status !== 'running') return false;
  if (step.epoch !== end.epoch || step.leaseToken !== end.leaseToken) return false;
  if (end.source.kind === 'server') return true;
  const { agentId, sessionNumber } = end.source;
  return (
    step.agentId === agentId &&
    step.sessionNumber === sessionNumber &&
    sessions.has(`${agentId}.${sessionNumber}`)
  );
}

function decide(batch: Batch, end: AttemptEnd): void {
  const step = batch.steps.get(end.stepId);
  const target = step && batch.targetRuns.get(step.targetRunId);
  const run = step && batch.ledger.run(step.jobRunId);
  if (step === undefined || target === undefined || run === undefined)
    throw new Error('a locked row is missing');
  const status: StepStatus = end.outcome.status;
  const { outcome } = end;
  batch.settled.push({ step, row: settledStep(step, end) });
  batch.attempts.push({
    stepId: step.id,
    epoch: step.epoch,
    status,
    exitCode: outcome.exitCode ?? null,
    signal: cleanText(outcome.signal),
    reason: outcome.reason ?? null,
    message: cleanText(outcome.message),
    outputState: end.output.state,
    outputDigest: end.output.digest,
    outputGaps: end.output.gaps.length > 0 ? end.output.gaps : null,
    requestId: end.source.kind === 'agent' ? end.source.requestId : null,
    executionTimeMs: outcome.executionTimeMs ?? null,
  });
  const failed = status === 'failed' || status === 'timed_out';
  batch.ledger.countStepEnds(step.jobRunId, { completed: 1, failed: failed ? 1 : 0 });
  batch.ledger.markStarted(step.jobRunId);
  if (failed || status === 'unknown') {
    batch.ledger.setError(
      step.jobRunId,
      `${target.targetName}, step ${step.stepNumber}: ${outcomeText(outcome)}`,
    );
  }
  const next = batch.nextOf.get(step.id);
  if (status !== 'succeeded') {
    if (next !== undefined)
      closeWaiting(batch, target.id, run.status === 'cancelling' ? 'cancelled' : 'skipped');
    batch.ledger.endTargetRun(target, status);
  } else if (next === undefined) {
    batch.ledger.endTargetRun(target, status);
  } else if (run.status === 'cancelling') {
    closeWaiting(batch, target.id, 'cancelled');
    batch.ledger.endTargetRun(target, 'cancelled');
  } else {
    batch.ledger.changeTargetRun(target, 'running');
    passOn(batch, end, next);
  }
}

function passOn(batch: Batch, end: AttemptEnd, next: StepRow): void {
  if (next.status !== 'pending') return;
  if (end.source.kind === 'agent' && end.source.wantsNext) {
    batch.leases.push({
      id: next.id,
      epoch: next.epoch + 1,
      attemptDay: batch.ledger.now.toISOString().slice(0, 10),
      leaseToken: randomBytes(16).toString('hex'),
      agentId: end.source.agentId,
      sessionNumber: end.source.sessionNumber,
    });
  } else {
    batch.readied.push(next);
    batch.ledger.wakeSegment(next.segmentId);
    batch.ledger.noteStep(next.jobRunId, { id: next.id, status: 'ready' });
  }
}

function closeWaiting(batch: Batch, targetRunId: number, status: 'skipped' | 'cancelled'): void {
  const ids = batch.close.get(status) ?? [];
  ids.push(targetRunId);
  batch.close.set(status, ids);
}

function noteSettled(ledger: RunLedger, step: StepRow, row: SettledStep): void {
  ledger.noteStep(step.jobRunId, {
    id: step.id,
    status: row.status,
    attempt: step.epoch,
    startedAt: row.startedAt?.toISOString() ?? null,
    completedAt: ledger.now.toISOString(),
    executionTimeMs: row.executionTimeMs,
    exitCode: row.exitCode,
    signal: row.signal,
    reason: row.reason,
    errorMessage: row.errorMessage,
    advice: row.advice,
    survivors: (row.survivors ?? []) as { pid: number; command: string }[],
    outputState: row.outputState,
    outputSeq: step.outputSeq,
    outputBytes: step.outputBytes,
  });
}

async function writeSteps(batch: Batch): Promise<void> {
  const { tx, ledger } = batch;
  const closing = [...batch.close].map(async ([status, targetRunIds]) => {
    for (const closed of await closeWaitingSteps(tx, targetRunIds, status)) {
      ledger.countStepEnds(closed.jobRunId, { completed: 1, failed: 0 });
      ledger.noteStep(closed.jobRunId, { id: closed.id, status });
    }
  });
  await Promise.all([
    writeSettledSteps(
      tx,
      batch.settled.map((entry) => entry.row),
      ledger.now,
    ),
    setStepStatus(
      tx,
      batch.readied.map((step) => step.id),
      'ready',
    ),
    writeNextLeases(tx, batch.leases, ledger.now),
    ...closing,
  ]);
}

function leaseNext(batch: Batch): Map<number, ClaimedStep> {
  const claimed = new Map<number, ClaimedStep>();
  for (const lease of batch.leases) {
    const step = batch.steps.get(lease.id);
    if (step === undefined) continue;
    batch.ledger.noteStep(step.jobRunId, {
      id: step.id,
      status: 'running',
      attempt: lease.epoch,
      leasedAt: batch.ledger.now.toISOString(),
      outputState: 'open',
    });
    claimed.set(step.id, {
      id: step.id,
      epoch: lease.epoch,
      leaseToken: lease.leaseToken,
      jobRunId: step.jobRunId,
      targetRunId: step.targetRunId,
      segmentId: step.segmentId,
      stepNumber: step.stepNumber,
      stepType: step.stepType,
      agentId: lease.agentId,
      sessionNumber: lease.sessionNumber,
      attemptDay: lease.attemptDay,
    });
  }
  return claimed;
}

async function recordContexts(batch: Batch, ends: readonly AttemptEnd[]): Promise<void> {
  const contexts = ends.flatMap((end) => {
    const step = batch.steps.get(end.stepId);
    const { ssh } = end.outcome;
    if (step === undefined || ssh === undefined || end.source.kind !== 'agent') return [];
    if (Number.isNaN(Date.parse(ssh.establishedAt))) return [];
    return [
      {
        jobRunId: step.jobRunId,
        targetId: batch.targetRuns.get(step.targetRunId)?.targetId ?? null,
        agentId: end.source.agentId,
        sessionId: cleanText(ssh.sessionId) ?? '',
        establishedAt: new Date(ssh.establishedAt).toISOString(),
        bytes: step.outputBytes,
      },
    ];
  });
  await recordSshContexts(batch.tx, contexts);
}

async function resultOf(
  batch: Batch,
  end: AttemptEnd,
  settled: readonly AttemptEnd[],
  leased: ReadonlyMap<number, ClaimedStep>,
): Promise<SettleResult> {
  const answer = { stepId: end.stepId, epoch: end.epoch };
  if (settled.includes(end)) {
    const nextId = batch.nextOf.get(end.stepId)?.id;
    const next = nextId === undefined ? undefined : leased.get(nextId);
    return next === undefined ? { ...answer, result: 'settled' } : { ...answer, result: 'settled', next };
  }
  if (end.source.kind !== 'agent') return { ...answer, result: 'superseded' };
  const attempt = await attemptOf(batch.tx, end.stepId, end.epoch);
  if (attempt === undefined) {
    const isLive = batch.steps.get(end.stepId)?.epoch === end.epoch;
    return { ...answer, result: isLive ? 'superseded' : 'forget' };
  }
  if (attempt.leaseToken !== end.leaseToken || attempt.agentId !== end.source.agentId) {
    return { ...answer, result: 'superseded' };
  }
  if (attempt.requestId === end.source.requestId) return { ...answer, result: 'settled' };
  if (attempt.status === 'unknown') await annotate(batch, end);
  return { ...answer, result: 'superseded' };
}

async function annotate(batch: Batch, end: AttemptEnd): Promise<void> {
  if (end.source.kind !== 'agent') return;
  await annotateLateResult(batch.tx, {
    stepId: end.stepId,
    epoch: end.epoch,
    status: end.outcome.status,
    exitCode: end.outcome.exitCode ?? null,
    note: `The agent has since reported: ${end.outcome.status}, ${outcomeText(end.outcome)}`,
    requestId: end.source.requestId,
    outputState: end.output.state,
    outputDigest: end.output.digest,
  });
}

function settledStep(step: StepRow, end: AttemptEnd): SettledStep {
  const { outcome } = end;
  if (!isStepEnded(outcome.status)) throw new Error(`${outcome.status} does not end a step`);
  return {
    id: step.id,
    status: outcome.status,
    startedAt: step.startedAt ?? step.leasedAt,
    exitCode: outcome.exitCode ?? null,
    signal: cleanText(outcome.signal),
    reason: outcome.reason ?? null,
    errorMessage: cleanText(outcome.message),
    advice: cleanText(outcome.advice),
    survivors:
      outcome.survivors?.map((entry) => ({ pid: entry.pid, command: cleanText(entry.command) })) ?? null,
    executionTimeMs: outcome.executionTimeMs ?? null,
    outputState: end.output.state,
  };
}

function outcomeText(outcome: StepOutcome): string {
  return (
    cleanText(outcome.message) ??
    (outcome.exitCode === undefined ? (outcome.reason ?? outcome.status) : `exit code ${outcome.exitCode}`)
  );
}

/** Agents' text as PostgreSQL takes it: well-formed and without NUL. */
function cleanText(text: string | undefined): string | null {
  return text === undefined ? null : text.toWellFormed().replaceAll('\0', '\ufffd');
}
