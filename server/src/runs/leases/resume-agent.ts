// Reconciles what the database knows of an agent with the journal that the agent presents after connecting.
import type { JournalAttempt, ServerMessageOf, StepOutcome } from '@opsconductor/protocol';
import {
  adoptLeases,
  type HeldStep,
  lockCurrentSession,
  noteJournalLost,
  type ReadySession,
  readySessions,
  runningStepsOfAgent,
  type SettledAttemptRow,
  settledAttempts,
} from '../../store/agents/agent-sessions.ts';
import type { Sql, Tx } from '../../store/database/connection.ts';
import { isRefused } from '../../store/database/refused-statement.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { unheardAttempts } from '../../store/queue/attempts/clean-ups.ts';
import {
  forgetDetached,
  noteDetached,
  orphanAttempts,
  takenByOthers,
} from '../../store/queue/attempts/detached-attempts.ts';
import { lockRuns } from '../../store/runs/progress/progress-rows.ts';
import type { AttemptEnd } from '../progress/attempt-end.ts';
import { givenUpEnd, type HeldLease } from '../progress/given-up-end.ts';
import { neverBegunEnd } from '../progress/never-begun-end.ts';
import type { ProgressNews } from '../progress/run-ledger.ts';
import { begunEnd, returnLeasesIn } from './return-leases.ts';

export interface Resume extends ReadySession {
  journalIntact: boolean;
  /** Identifies the loss if the journal isn't intact; `undefined` from agents that don't support this. */
  journalLoss?: string | undefined;
  attempts: readonly JournalAttempt[];
}

/** An attempt for which the new session may send output and a completion. */
export interface ResumedAttempt {
  stepId: number;
  epoch: number;
  leaseToken: string;
  runId: number;
  targetRunId: number;
  stepNumber: number;
  /** The attempt that it follows, if it was leased ahead of its turn. */
  after?: { step: number; epoch: number };
  attemptDay: string;
  ackedSeq: number;
  /** Uncompressed size of the output stored up to `ackedSeq`. */
  outputBytes: number;
  /** Whether its command goes on without the agent. */
  survives?: boolean;
  /** The row of its step can't be written now. The agent keeps what it knows of it. */
  isUnwritable?: boolean;
}

export interface Resumed {
  verdicts: ServerMessageOf<'resumed'>['attempts'];
  attempts: ResumedAttempt[];
  /**
   * Ends to settle: attempts that are unknown because the journal is lost, and attempts that an intact journal shows
   * never began.
   */
  ends: AttemptEnd[];
  /** Attempts that go on, but may not have been reported to anyone: the server that leased them may be gone. */
  untold: { id: number; epoch: number; hasBegun: boolean }[];
  /** Steps whose rows can't be written now: they stay as they are. */
  unwritable: number[];
  news: ProgressNews;
}

const lostJournal: StepOutcome = {
  status: 'unknown',
  reason: 'agent_restarted',
  message: 'The agent came back without its journal: whether the step ran is not known.',
  advice: 'Look on the target before you run it again.',
};

const nothingHeld: Resumed = {
  verdicts: [],
  attempts: [],
  ends: [],
  untold: [],
  unwritable: [],
  news: { runs: [], segments: [], cancel: [] },
};

/**
 * Makes many sessions ready at once. This is fast because nearly all agents that reconnect together hold nothing.
 *
 * @returns for each session its result, or `undefined` if a newer session of its agent has replaced it.
 */
export async function resumeAgents(sql: Sql, resumes: readonly Resume[]): Promise<(Resumed | undefined)[]> {
  const mayBeIdle = resumes.filter(({ attempts, journalIntact }) => attempts.length === 0 && journalIntact);
  // One statement that locks many agents, in a transaction that is repeated if the database breaks a deadlock with
  // others.
  const idle =
    mayBeIdle.length === 0
      ? new Set<string>()
      : await inTransaction(sql, (tx) => readySessions(tx, mayBeIdle, { onlyIdle: true }));
  const results: (Resumed | undefined)[] = [];
  for (const resume of resumes)
    results.push(
      idle.has(`${resume.agentId}.${resume.sessionNumber}`) ? nothingHeld : await resumeAgent(sql, resume),
    );
  return results;
}

/**
 * Makes the session ready and decides what becomes of each attempt. Returns `undefined`, and does nothing, if a newer
 * session has replaced this one: a resume that reaches the database late must not take the leases of the newer session.
 *
 * A step whose row can't be written must not keep its agent from all its other work. Nothing is decided about it.
 */
export async function resumeAgent(sql: Sql, resume: Resume): Promise<Resumed | undefined> {
  try {
    return await resumeExcept(sql, resume, new Set());
  } catch (error) {
    if (!isRefused(error)) throw error;
    const unwritable = await unwritableSteps(sql, resume);
    if (unwritable.size === 0) throw error;
    return resumeExcept(sql, resume, unwritable);
  }
}

/**
 * Returns those of the agent's steps about which the database refuses to write something, be it about their commands, by
 * trying each alone. Writes nothing.
 */
async function unwritableSteps(sql: Sql, resume: Resume): Promise<Set<number>> {
  const ids = (await runningStepsOfAgent(sql, resume.agentId)).map(({ id }) => id);
  const refused = new Set<number>();
  for (const id of ids) {
    const written = new Error('written');
    const others = new Set(ids.filter((other) => other !== id));
    const trying = inTransaction(sql, async (tx) => {
      await resumeIn(tx, resume, others);
      throw written;
    });
    await trying.catch((error) => {
      if (error === written) return;
      if (!isRefused(error)) throw error;
      refused.add(id);
    });
  }
  return refused;
}

async function resumeExcept(
  sql: Sql,
  resume: Resume,
  unwritable: ReadonlySet<number>,
): Promise<Resumed | undefined> {
  return inTransaction(sql, (tx) => resumeIn(tx, resume, unwritable));
}

async function resumeIn(
  tx: Tx,
  resume: Resume,
  unwritable: ReadonlySet<number>,
): Promise<Resumed | undefined> {
  if (!(await lockCurrentSession(tx, resume))) return undefined;
  if (!resume.journalIntact) await noteJournalLost(tx, resume);
  const { agentId, sessionNumber } = resume;
  const running = await runningStepsOfAgent(tx, agentId);
  const held = running.filter(({ id }) => !unwritable.has(id));
  const { presented, present, absent } = compareWithJournal(held, resume);
  const stuck = compareWithJournal(
    running.filter(({ id }) => unwritable.has(id)),
    resume,
  ).present;
  const { news, ends } = await endAbsent(tx, resume, absent);
  const adopted = await adoptLeases(
    tx,
    agentId,
    sessionNumber,
    present.map((step) => step.id),
  );
  const going = present.filter(({ id }) => adopted.has(id));
  const survives = ({ id, epoch }: HeldStep) => presented.get(`${id}.${epoch}`)?.survives === true;
  const thatSurvive = (survive: boolean) =>
    going
      .filter((step) => survives(step) === survive)
      .map(({ id, epoch }) => ({ stepId: id, epoch, agentId, sessionNumber }));
  await noteDetached(tx, thatSurvive(true));
  await forgetDetached(tx, thatSurvive(false));
  const goingKeys = new Set([...going, ...stuck].map((step) => `${step.id}.${step.epoch}`));
  const others = resume.attempts.filter((attempt) => !goingKeys.has(`${attempt.step}.${attempt.epoch}`));
  const settled = await settledAttempts(
    tx,
    agentId,
    others.map((attempt) => ({ step: attempt.step, epoch: attempt.epoch })),
  );
  const taken = await takenByOthers(tx, agentId, others);
  await readySessions(tx, [resume], { onlyIdle: false });
  const unheard = resume.journalIntact ? await unheardAttempts(tx, agentId) : [];
  const neverBegan = unheard.filter(({ stepId, epoch }) => !presented.has(`${stepId}.${epoch}`));
  return {
    ...verdictsOf(
      [
        ...going.map((step) => ({ ...step, survives: survives(step), isUnwritable: false })),
        ...stuck.map((step) => ({ ...step, survives: false, isUnwritable: true })),
      ],
      others,
      { settled, taken },
    ),
    ends: [...ends, ...neverBegan.map((attempt) => neverBegunEnd({ ...attempt, agentId, sessionNumber }))],
    untold: going
      .filter(({ isNoted }) => !isNoted)
      .map(({ id, epoch }) => ({
        id,
        epoch,
        hasBegun: presented.get(`${id}.${epoch}`)?.state !== 'leased',
      })),
    unwritable: [...unwritable],
    news,
  };
}

/** Returns, ends or leaves to themselves the attempts that the agent's journal does not have. */
async function endAbsent(
  tx: Tx,
  { journalIntact }: Resume,
  absent: readonly AbsentLease[],
): Promise<Pick<Resumed, 'news' | 'ends'>> {
  // Commands that the agent began but no longer knows, and that survive it, go on by themselves: the agent that takes
  // them over, possibly this one, finds them.
  const stepIds = absent.map(({ stepId }) => stepId);
  // Before their steps, as everywhere.
  if (stepIds.length > 0) await lockRuns(tx, { stepIds });
  const orphaned = await orphanAttempts(tx, absent, { expected: true });
  const gone = absent.filter(({ stepId }) => !orphaned.has(stepId));
  // If the loss was reported by an earlier session, its ends may not have been settled.
  const lost = gone.filter(({ isBeforeLoss }) => isBeforeLoss || !journalIntact);
  const known = gone.filter((lease) => !lost.includes(lease));
  const begunFirst = known.filter(({ hasBegun }) => hasBegun);
  const unbegun = known.filter(({ hasBegun }) => !hasBegun);
  const { news, begun } = await returnLeasesIn(tx, unbegun);
  return {
    news,
    ends: [...lost.map((lease) => givenUpEnd(lease, lostJournal)), ...begunFirst.map(begunEnd), ...begun],
  };
}

/** An attempt that the database says the agent has, and that its journal doesn't have. */
interface AbsentLease extends HeldLease {
  isBeforeLoss: boolean;
  /** Whether the agent has begun it all the same: it has begun a later step of the target run. */
  hasBegun: boolean;
}

function compareWithJournal(
  held: readonly HeldStep[],
  { agentId, attempts }: Pick<Resume, 'agentId' | 'attempts'>,
): { presented: ReadonlyMap<string, JournalAttempt>; present: HeldStep[]; absent: AbsentLease[] } {
  const presented = new Map(attempts.map((attempt) => [`${attempt.step}.${attempt.epoch}`, attempt]));
  const journaled = ({ id, epoch, leaseToken }: HeldStep) => {
    const attempt = presented.get(`${id}.${epoch}`);
    return attempt?.leaseToken === leaseToken ? attempt : undefined;
  };
  const present = held.filter((step) => journaled(step) !== undefined);
  // Of steps that follow one another: if a later one has begun, those before it had succeeded there.
  const lastBegun = new Map<number, number>();
  for (const step of present)
    if (journaled(step)?.state !== 'leased')
      lastBegun.set(step.targetRunId, Math.max(step.stepNumber, lastBegun.get(step.targetRunId) ?? 0));
  const absent = held
    .filter((step) => journaled(step) === undefined)
    .map(({ id: stepId, epoch, leaseToken, sessionNumber, isBeforeLoss, targetRunId, stepNumber }) => ({
      stepId,
      epoch,
      leaseToken,
      agentId,
      sessionNumber,
      isBeforeLoss,
      hasBegun: stepNumber < (lastBegun.get(targetRunId) ?? 0),
    }));
  return { presented, present, absent };
}

function verdictsOf(
  going: readonly (HeldStep & { survives: boolean; isUnwritable: boolean })[],
  others: readonly JournalAttempt[],
  known: { settled: readonly SettledAttemptRow[]; taken: ReadonlySet<string> },
): Pick<Resumed, 'verdicts' | 'attempts'> {
  const verdicts: Resumed['verdicts'] = [];
  const attempts: ResumedAttempt[] = [];
  for (const step of going) {
    verdicts.push({
      step: step.id,
      epoch: step.epoch,
      verdict: step.isToStop ? 'cancel' : 'continue',
      ackedSeq: step.outputSeq,
    });
    attempts.push({
      stepId: step.id,
      epoch: step.epoch,
      leaseToken: step.leaseToken,
      runId: step.jobRunId,
      targetRunId: step.targetRunId,
      stepNumber: step.stepNumber,
      ...followed(step, going),
      attemptDay: step.attemptDay,
      ackedSeq: step.outputSeq,
      outputBytes: step.outputBytes,
      survives: step.survives,
      ...(step.isUnwritable ? { isUnwritable: true } : {}),
    });
  }
  const byKey = new Map(known.settled.map((row) => [`${row.stepId}.${row.epoch}`, row]));
  for (const attempt of others) {
    const row = byKey.get(`${attempt.step}.${attempt.epoch}`);
    const isOurs = row !== undefined && row.leaseToken === attempt.leaseToken;
    const isOpen = isOurs && row.status === 'unknown' && row.lateStatus === null;
    verdicts.push({
      step: attempt.step,
      epoch: attempt.epoch,
      ackedSeq: row?.outputSeq ?? 0,
      ...(isOpen
        ? { verdict: row.isToStop && attempt.state === 'running' ? 'cancel' : 'superseded' }
        : {
            verdict: 'forget',
            ...(isOurs ? { settled: true } : {}),
            ...(known.taken.has(`${attempt.step}.${attempt.epoch}`) ? { taken: true } : {}),
          }),
    });
    if (!isOpen) continue;
    attempts.push({
      stepId: row.stepId,
      epoch: row.epoch,
      leaseToken: row.leaseToken,
      runId: row.jobRunId,
      targetRunId: row.targetRunId,
      stepNumber: row.stepNumber,
      attemptDay: row.attemptDay,
      ackedSeq: row.outputSeq,
      outputBytes: row.outputBytes,
    });
  }
  return { verdicts, attempts };
}

/** Steps of a target run that an agent has at once follow one another. */
function followed(step: HeldStep, going: readonly HeldStep[]): Pick<ResumedAttempt, 'after'> {
  const before = going.find(
    ({ targetRunId, stepNumber }) => targetRunId === step.targetRunId && stepNumber === step.stepNumber - 1,
  );
  return before === undefined ? {} : { after: { step: before.id, epoch: before.epoch } };
}
