// Settles attempts in batches: the step's outcome, what follows in its target run, and the effects on the run, in one
// transaction. If the agent that completed a step asks for the next one, that step is leased to it here.
import { isStepEnded, type StepOutcome } from '@opsconductor/protocol';
import type { AuditEntry } from '../../audit/record-audit.ts';
import { recordAudits } from '../../audit/record-audits.ts';
import { movesFiles } from '../../jobs/definition/step-needs.ts';
import { type HeldSession, holdCurrentSessions } from '../../store/agents/agent-sessions.ts';
import type { Sql, Tx } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import type { ClaimedStep } from '../../store/queue/claims/claims.ts';
import { leaseDetails } from '../../store/queue/claims/lease-details.ts';
import { readyRanks } from '../../store/queue/strategy-steps.ts';
import {
  lockStepsAndNext,
  lockTargetRuns,
  type RunRow,
  type StepRow,
} from '../../store/runs/progress/progress-rows.ts';
import { type NewStepOutputs, writeStepOutputs } from '../../store/runs/run-values.ts';
import { recordSshContexts } from '../../store/runs/ssh-contexts.ts';
import { type NewTransfers, writeTransfers } from '../../store/runs/transfers/transfers.ts';
import { cleanText } from '../clean-text.ts';
import { type AttemptEnd, answer, type SessionRef, type SettleResult } from './attempt-end.ts';
import { refusalAudit } from './audit-refusals.ts';
import { annotate, decideLate, findLateResults, noteLate } from './late-results.ts';
import { type ProgressNews, RunLedger, stoppedStatus } from './run-ledger.ts';
import { StepProgress } from './step-progress.ts';
import type { AttemptResult, NextFor } from './step-writes.ts';

/** What people are told about a run that was stopped at its timeout, and about its steps that were. */
export function runTimeoutMessage({ timeoutS }: Pick<RunRow, 'timeoutS'>): string {
  return `The run’s timeout${timeoutS === null ? '' : ` of ${timeoutS} s`} had passed.`;
}

interface Batch {
  tx: Tx;
  ledger: RunLedger;
  progress: StepProgress;
  /** Current sessions among those that reported ends, by `agent.session`. */
  sessions: ReadonlyMap<string, HeldSession>;
  /** The claim rank of the most urgent ready step, by segment. */
  ranks: ReadonlyMap<number, number>;
}

/**
 * Settles every attempt that is current, and answers for each end what the agent is to do with the attempt.
 *
 * @param options.onLeasing is called with the next steps that were leased, before the transaction has committed; not with
 * those that were leased ahead of their turn.
 */
export async function settleAttempts(
  sql: Sql,
  ends: readonly AttemptEnd[],
  options: {
    random?: () => number;
    onLeasing?: ((steps: readonly ClaimedStep[]) => void) | undefined;
  } = {},
): Promise<{ results: SettleResult[]; news: ProgressNews }> {
  return inTransaction(sql, async (tx) => {
    const batch = await openBatch(tx, ends, options.random);
    const { ledger, progress, sessions } = batch;
    const current: AttemptEnd[] = [];
    const seen = new Set<number>();
    const early = new Set<AttemptEnd>();
    for (const end of ends) {
      const step = progress.step(end.stepId);
      if (!isCurrent(end, step, sessions) || seen.has(end.stepId)) continue;
      if (step !== undefined && progress.isAhead(step, seen)) {
        early.add(end);
        continue;
      }
      seen.add(end.stepId);
      current.push(end);
    }
    progress.decides(current.map(({ stepId }) => stepId));
    const settled = new Set(current);
    const others = ends.filter((end) => !settled.has(end) && !early.has(end));
    const late = await findLateResults(batch, others, seen);
    for (const end of current) progress.attemptEnded(stepOf(batch, end), attemptResult(batch, end));
    const deciding = decideLate(batch, late, (end) => attemptResult(batch, end));
    progress.leaseAhead();
    const leased = progress.writes.takeLeases();
    await progress.writes.closeSuccessors();
    const reading = withDetails(tx, leased).then((steps) => {
      options.onLeasing?.(steps.filter(({ after }) => after === undefined));
      return leasesOf(steps);
    });
    const writes = [
      reading,
      ...progress.writes.send(),
      recordContexts(batch, [...current, ...deciding]),
      writeStepOutputs(tx, handedOnBy([...current, ...deciding])),
      writeTransfers(tx, transfersOf([...current, ...deciding])),
      recordAudits(tx, refusalsOf(batch, [...current, ...deciding])),
    ];
    const resultOf = (end: AttemptEnd, leases: Leases): SettleResult => {
      if (early.has(end)) return answer(end, 'early');
      if (settled.has(end)) return settledResult(batch, end, { ends: current, leases });
      return late.results.get(end) ?? answer(end, 'superseded');
    };
    if (others.length === 0) {
      const [news, next] = await Promise.all([ledger.writeAndCommit(), reading, ...writes]);
      return { results: ends.map((end) => resultOf(end, next)), news };
    }
    await Promise.all(writes);
    const next = await reading;
    for (const end of late.annotating) await annotate(batch, end);
    const news = await ledger.write();
    // After the target runs have been written, because a target run that goes on keeps its locks.
    for (const end of [...late.annotating, ...deciding]) await noteLate(tx, end);
    return { results: ends.map((end) => resultOf(end, next)), news };
  });
}

async function openBatch(
  tx: Tx,
  ends: readonly AttemptEnd[],
  random: (() => number) | undefined,
): Promise<Batch> {
  const stepIds = [...new Set(ends.map((end) => end.stepId))];
  const ahead = new Map(
    ends.map(({ stepId, source }) => [stepId, source.kind === 'agent' ? (source.ahead ?? 0) : 0]),
  );
  // Sent together and processed in this order, which is the lock order: agents, runs, target runs, steps.
  const [sessions, ledger, targetRuns, steps, ranks] = await Promise.all([
    holdCurrentSessions(
      tx,
      ends.flatMap(({ source }) =>
        source.kind === 'agent' ? [{ agentId: source.agentId, sessionNumber: source.sessionNumber }] : [],
      ),
    ),
    RunLedger.open(tx, { stepIds }),
    lockTargetRuns(tx, stepIds),
    lockStepsAndNext(
      tx,
      stepIds,
      stepIds.map((id) => ahead.get(id) ?? 0),
    ),
    readyRanks(tx, stepIds),
  ]);
  const agentNames = new Map([...sessions].map(([key, { name }]) => [key, name]));
  const progress = new StepProgress({ tx, ledger, targetRuns, steps }, { agentNames, random });
  await progress.prepare(stepIds);
  return { tx, ledger, progress, sessions, ranks };
}

/**
 * The fence: epoch, lease token, agent and session must be those of the live lease, and the session must be the agent's
 * newest.
 */
function isCurrent(
  end: AttemptEnd,
  step: StepRow | undefined,
  sessions: ReadonlyMap<string, HeldSession>,
): boolean {
  if (step === undefined || step.status !== 'running') return false;
  if (step.epoch !== end.epoch || step.leaseToken !== end.leaseToken) return false;
  if (end.source.kind === 'server') {
    const { heldBy } = end.source;
    return heldBy === undefined || isHeldBy(step, heldBy);
  }
  const { agentId, sessionNumber } = end.source;
  return isHeldBy(step, end.source) && sessions.has(`${agentId}.${sessionNumber}`);
}

function isHeldBy(step: StepRow, { agentId, sessionNumber }: SessionRef): boolean {
  return step.agentId === agentId && step.sessionNumber === sessionNumber;
}

function stepOf({ progress }: Batch, end: AttemptEnd): StepRow {
  const step = progress.step(end.stepId);
  if (step === undefined) throw new Error('a locked row is missing');
  return step;
}

function attemptResult(batch: Batch, end: AttemptEnd): AttemptResult {
  const { output, source } = end;
  const outcome = stoppedOutcome(batch, end);
  if (!isStepEnded(outcome.status)) throw new Error(`${outcome.status} does not end a step`);
  const step = stepOf(batch, end);
  const isNextWanted =
    source.kind === 'agent' && source.wantsNext && takesSteps(batch, source) && mayPassOn(batch, step);
  return {
    outcome,
    output,
    requestId: source.kind === 'agent' ? source.requestId : null,
    // A step whose condition was not met never began.
    startedAt: outcome.status === 'skipped' ? null : (step.startedAt ?? startOf(step, end, batch.ledger.now)),
    nextFor: isNextWanted ? nextForOf(batch, source) : undefined,
  };
}

function nextForOf(
  { sessions }: Batch,
  { agentId, sessionNumber, ahead = 0 }: SessionRef & { ahead?: number },
): NextFor {
  const { capabilities = [] } = sessions.get(`${agentId}.${sessionNumber}`) ?? {};
  return { agentId, sessionNumber, capabilities, ahead };
}

/**
 * Whether the agent may keep its slot for the next step: not if a ready step of a run with a higher priority could have
 * the slot, and not in a halted run.
 */
function mayPassOn({ ledger, ranks }: Batch, step: StepRow): boolean {
  const run = ledger.run(step.jobRunId);
  if (run === undefined || run.haltedAt !== null) return false;
  return (ranks.get(step.segmentId) ?? 0) >= -run.priority;
}

/**
 * If the run was stopped at its timeout, what the agent cancelled on the server's request counts as timed out, except
 * on a host that had been cancelled by itself.
 */
function stoppedOutcome({ ledger, progress }: Batch, { stepId, outcome }: AttemptEnd): StepOutcome {
  const step = progress.step(stepId);
  if (outcome.status !== 'cancelled' || step === undefined) return outcome;
  const run = ledger.run(step.jobRunId);
  if (run === undefined || stoppedStatus(run, progress.targetRun(step)) !== 'timed_out') return outcome;
  return { ...outcome, status: 'timed_out', reason: 'run_timeout', message: runTimeoutMessage(run) };
}

function takesSteps({ sessions }: Batch, agent: SessionRef): boolean {
  return sessions.get(`${agent.agentId}.${agent.sessionNumber}`)?.takesSteps === true;
}

function handedOnBy(ends: readonly AttemptEnd[]): NewStepOutputs[] {
  return ends.flatMap(({ stepId, epoch, handsOn }) =>
    handsOn === undefined ? [] : [{ stepId, epoch, ...handsOn }],
  );
}

function transfersOf(ends: readonly AttemptEnd[]): NewTransfers[] {
  return ends.flatMap(({ stepId, epoch, transfers }) =>
    transfers === undefined ? [] : [{ stepId, epoch, ...transfers }],
  );
}

function refusalsOf(batch: Batch, ends: readonly AttemptEnd[]): AuditEntry[] {
  return ends.flatMap(({ stepId, source, outcome }) => {
    const step = batch.progress.step(stepId);
    if (step === undefined || source.kind !== 'agent') return [];
    const { agentId: id, sessionNumber } = source;
    const name = batch.sessions.get(`${id}.${sessionNumber}`)?.name ?? `agent ${id}`;
    const { targetName } = batch.progress.targetRun(step);
    return refusalAudit({ step, targetName, agent: { id, name }, outcome }) ?? [];
  });
}

// ---- answers

/** What was leased to the agents that ended steps of these target runs, by target run. */
type Leases = ReadonlyMap<number, ClaimedStep[]>;

function leasesOf(steps: readonly ClaimedStep[]): Leases {
  const leases = new Map<number, ClaimedStep[]>();
  for (const step of steps) leases.set(step.targetRunId, [...(leases.get(step.targetRunId) ?? []), step]);
  return leases;
}

/** The leases of a target run go along with the last of its steps that ended. */
function settledResult(
  { progress }: Batch,
  end: AttemptEnd,
  { ends, leases }: { ends: readonly AttemptEnd[]; leases: Leases },
): SettleResult {
  const targetRunId = progress.step(end.stepId)?.targetRunId;
  const settled = answer(end, 'settled');
  if (targetRunId === undefined) return settled;
  const steps = leases.get(targetRunId);
  const last = ends.findLast(({ stepId }) => progress.step(stepId)?.targetRunId === targetRunId);
  if (steps === undefined || end !== last) return settled;
  const next = steps.find(({ after }) => after === undefined);
  const ahead = steps.filter(({ after }) => after !== undefined);
  return { ...settled, ...(next === undefined ? {} : { next }), ...(ahead.length === 0 ? {} : { ahead }) };
}

/**
 * Adds what the leases need to be sent. It is read in the same round trip as everything else, since agents are waiting.
 */
async function withDetails(tx: Tx, leased: readonly ClaimedStep[]): Promise<ClaimedStep[]> {
  if (leased.length === 0) return [];
  const rows = await leaseDetails(
    tx,
    leased.map((step) => step.id),
  );
  const details = new Map(rows.map((row) => [row.stepId, row]));
  return leased.map((step) => {
    const found = details.get(step.id);
    return found === undefined ? step : { ...step, details: found };
  });
}

async function recordContexts(batch: Batch, ends: readonly AttemptEnd[]): Promise<void> {
  const contexts = ends.flatMap((end) => {
    const step = batch.progress.step(end.stepId);
    const { ssh } = end.outcome;
    if (step === undefined || ssh === undefined || end.source.kind !== 'agent') return [];
    if (Number.isNaN(Date.parse(ssh.establishedAt))) return [];
    return [
      {
        jobRunId: step.jobRunId,
        targetId: batch.progress.targetRun(step).targetId,
        agentId: end.source.agentId,
        sessionId: cleanText(ssh.sessionId) ?? '',
        establishedAt: new Date(ssh.establishedAt).toISOString(),
        ...carriedBy(step, end),
      },
    ];
  });
  await recordSshContexts(batch.tx, contexts);
}

/** What an attempt did over its connection. The lines that a step prints about its files are the agent's own. */
function carriedBy(
  { stepType, outputBytes }: StepRow,
  { outcome, transfers }: AttemptEnd,
): { commands: number; files: number; bytes: number } {
  if (movesFiles(stepType)) {
    const { created, changed, bytes } = transfers?.totals ?? { created: 0, changed: 0, bytes: 0 };
    const isDryRun = transfers?.rows.some(({ status }) => status === 'planned') === true;
    return { commands: 0, files: isDryRun ? 0 : created + changed, bytes };
  }
  // Neither is known of a command that was not begun.
  const isBegun = outcome.executionTimeMs !== undefined || outcome.exitCode !== undefined;
  return { commands: isBegun ? 1 : 0, files: 0, bytes: outputBytes };
}

function startOf({ leasedAt }: StepRow, { startedMsAgo }: AttemptEnd, now: Date): Date | null {
  if (startedMsAgo === undefined || leasedAt === null) return leasedAt;
  return new Date(Math.max(leasedAt.getTime(), now.getTime() - startedMsAgo));
}
