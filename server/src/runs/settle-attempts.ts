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
import { type ProgressNews, RunLedger, type StepChange } from './run-ledger.ts';

/** Who says that an attempt has ended: its agent, or the server that gives it up. */
export type EndSource =
  | { kind: 'agent'; agentId: number; sessionNumber: number; requestId: string; wantsNext: boolean }
  | { kind: 'server' };

export interface AttemptEnd {
  stepId: number;
  epoch: number;
  leaseToken: string;
  source: EndSource;
  /** How long ago the step began, where that was not noted in the database. */
  startedMsAgo?: number | undefined;
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
  /** Names of the agents whose sessions are current, by `agent.session`. */
  sessions: ReadonlyMap<string, string>;
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
    const batch = newBatch({ tx, ledger, sessions }, targetRuns, rows);
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
    for (const { step, row } of batch.settled) noteSettled(batch, step, row);
    await closeSuccessors(batch);
    // Attempts are written from the live step rows, so before these change.
    const writes = [writeAttempts(tx, batch.attempts), ...writeSteps(batch), recordContexts(batch, current)];
    if (current.length === ends.length) {
      const [news] = await Promise.all([ledger.writeAndCommit(), ...writes]);
      return { results: ends.map((end) => settledResult(batch, end, leased)), news };
    }
    const [news] = await Promise.all([ledger.write(), ...writes]);
    const settled = new Set(current);
    const results: SettleResult[] = [];
    for (const end of ends)
      results.push(settled.has(end) ? settledResult(batch, end, leased) : await resultOf(batch, end));
    return { results, news };
  });
}

function newBatch(
  of: Pick<Batch, 'tx' | 'ledger' | 'sessions'>,
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
    ...of,
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
function isCurrent(
  end: AttemptEnd,
  step: StepRow | undefined,
  sessions: ReadonlyMap<string, string>,
): boolean {
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
  const row = settledStep(step, end, batch.ledger.now);
  batch.settled.push({ step, row });
  batch.attempts.push({
    stepId: step.id,
    epoch: step.epoch,
    status,
    startedAt: row.startedAt,
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

function noteSettled({ ledger, sessions }: Batch, step: StepRow, row: SettledStep): void {
  const change: StepChange = {
    id: step.id,
    status: row.status,
    attempt: step.epoch,
    agentName: sessions.get(`${step.agentId}.${step.sessionNumber}`) ?? null,
    leasedAt: step.leasedAt?.toISOString() ?? null,
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
  };
  // The first attempt finds the values that a step is born with; they need not be told.
  ledger.noteStep(step.jobRunId, step.epoch === 1 ? withoutUnset(change) : change);
}

function withoutUnset(change: StepChange): StepChange {
  const told = Object.entries(change).filter(([, value]) => value !== null && !isEmpty(value));
  return Object.fromEntries(told) as unknown as StepChange;
}

function isEmpty(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

/** What can't follow any more. */
async function closeSuccessors({ tx, ledger, close }: Batch): Promise<void> {
  const closing = [...close].map(async ([status, targetRunIds]) => {
    for (const closed of await closeWaitingSteps(tx, targetRunIds, status)) {
      ledger.countStepEnds(closed.jobRunId, { completed: 1, failed: 0 });
      ledger.noteStep(closed.jobRunId, { id: closed.id, status });
    }
  });
  await Promise.all(closing);
}

function writeSteps({ tx, ledger, settled, readied, leases }: Batch): Promise<void>[] {
  return [
    writeSettledSteps(
      tx,
      settled.map((entry) => entry.row),
      ledger.now,
    ),
    setStepStatus(
      tx,
      readied.map((step) => step.id),
      'ready',
    ),
    writeNextLeases(tx, leases, ledger.now),
  ];
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
      agentName: batch.sessions.get(`${lease.agentId}.${lease.sessionNumber}`) ?? null,
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

function settledResult(
  batch: Batch,
  end: AttemptEnd,
  leased: ReadonlyMap<number, ClaimedStep>,
): SettleResult {
  const answer = { stepId: end.stepId, epoch: end.epoch, result: 'settled' } as const;
  const nextId = batch.nextOf.get(end.stepId)?.id;
  const next = nextId === undefined ? undefined : leased.get(nextId);
  return next === undefined ? answer : { ...answer, next };
}

/** Of an end that settles no live attempt. */
async function resultOf(batch: Batch, end: AttemptEnd): Promise<SettleResult> {
  const answer = { stepId: end.stepId, epoch: end.epoch };
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

function settledStep(step: StepRow, end: AttemptEnd, now: Date): SettledStep {
  const { outcome } = end;
  if (!isStepEnded(outcome.status)) throw new Error(`${outcome.status} does not end a step`);
  return {
    id: step.id,
    status: outcome.status,
    startedAt: step.startedAt ?? startOf(step, end, now),
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

function startOf({ leasedAt }: StepRow, { startedMsAgo }: AttemptEnd, now: Date): Date | null {
  if (startedMsAgo === undefined || leasedAt === null) return leasedAt;
  return new Date(Math.max(leasedAt.getTime(), now.getTime() - startedMsAgo));
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
