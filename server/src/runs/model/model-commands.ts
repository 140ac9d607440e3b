// What can happen to runs, as commands of a model test. Each command picks what it acts on by number from what exists,
// and does nothing if nothing fits. The invariants are checked after every command.
import { isRunEnded, type RunStatus, type StepOutcome } from '@opsconductor/protocol';
import fc from 'fast-check';
import { inTransaction } from '../../store/database/transaction.ts';
import { freeLocksOfCleaned, noteCleanUps, takeDueCleanUps } from '../../store/queue/attempts/clean-ups.ts';
import { countUntoldAttempts } from '../../store/queue/attempts/step-attempts.ts';
import { longWaits, runsThatWait } from '../../store/queue/waiting/wait-bounds.ts';
import { purgeRun } from '../../store/runs/runs.ts';
import { cancelRun } from '../ends/cancel-run.ts';
import { cancelTargetRun } from '../ends/cancel-target-run.ts';
import { decideHeld } from '../ends/decide-held.ts';
import { endLongWaits } from '../ends/end-waits.ts';
import { type JournalEntry, jobCount, type ModelAgent, type ModelWorld } from './model-world.ts';
import type { RunInvariants } from './run-invariants.ts';

export interface Real {
  world: ModelWorld;
  invariants: RunInvariants;
}
type Command = fc.AsyncCommand<object, Real>;
type Action = (world: ModelWorld) => Promise<void>;

const maxOpenRuns = 4;
const mostBatches = 3;

class Happening implements Command {
  readonly #name: string;
  readonly #act: Action;

  constructor(name: string, act: Action) {
    this.#name = name;
    this.#act = act;
  }

  check(): boolean {
    return true;
  }

  async run(_model: object, { world, invariants }: Real): Promise<void> {
    await this.#act(world);
    await invariants.check();
  }

  toString(): string {
    return this.#name;
  }
}

function command(
  name: string,
  args: readonly fc.Arbitrary<unknown>[],
  act: (world: ModelWorld, ...args: never[]) => Promise<void>,
) {
  return fc
    .tuple(...args)
    .map(
      (values): Command =>
        new Happening(`${name}(${values.map((value) => JSON.stringify(value)).join(', ')})`, (world) =>
          act(world, ...(values as never[])),
        ),
    );
}

const pick = fc.nat(7);
const outcomes = fc.constantFrom<StepOutcome>(
  { status: 'succeeded', exitCode: 0 },
  { status: 'failed', exitCode: 3, reason: 'exit_code' },
  { status: 'failed', reason: 'unreachable', message: 'No route to host.' },
  { status: 'timed_out', reason: 'timed_out', survivors: [{ pid: 7, command: 'sleep' }] },
  { status: 'cancelled', reason: 'cancelled' },
  { status: 'unknown', reason: 'connection_lost', message: 'The connection was lost.' },
);

const who = pick;
const which = pick;
const told = fc.boolean();
const heard = fc.boolean();
const how = fc.constantFrom<('intact' | 'restarted' | 'damaged')[]>(
  'intact',
  'intact',
  'restarted',
  'damaged',
);
const decisions = fc.constantFrom('succeeded', 'failed', 'retry', 'cancel');
const findings = fc.constantFrom('nothing', 'ended', 'survivors', 'unreachable');

/** Every command with its weight: how often it is chosen compared to the others. */
const weighted: [number, fc.Arbitrary<Command>][] = [
  [5, command('start', [fc.nat(jobCount - 1), fc.integer({ min: 1, max: 3 })], start)],
  [8, command('claim', [fc.constant(true)], claim)],
  [1, command('claimUndelivered', [fc.constant(false)], claim)],
  [4, command('begin', [which, told], begin)],
  [10, command('end', [which, outcomes, fc.boolean(), heard, fc.nat(4)], end)],
  [12, command('succeed', [which, heard, fc.nat(4)], succeed)],
  [2, command('giveBack', [which], giveBack)],
  [5, command('connect', [who, how], connect)],
  [1, command('cut', [who], cut)],
  [1, command('replaced', [who], replaced)],
  [1, command('drain', [who], drain)],
  [3, command('silence', [who], silence)],
  [1, command('leaseExpires', [who], leaseExpires)],
  [2, command('deadline', [which], deadline)],
  [1, command('holdExpires', [], holdExpires)],
  [1, command('runTimesOut', [which], runTimesOut)],
  [1, command('notStartedInTime', [which], notStartedInTime)],
  [2, command('waitsTooLong', [which], waitsTooLong)],
  [3, command('timePasses', [], timePasses)],
  [1, command('databaseDown', [], databaseDown)],
  [1, command('cancel', [which, fc.constant(false)], cancel)],
  [1, command('forceCancel', [which, fc.constant(true)], cancel)],
  [2, command('cancelTargetRun', [which, fc.constant(false)], cancelOne)],
  [1, command('forceCancelTargetRun', [which, fc.constant(true)], cancelOne)],
  [4, command('decide', [which, decisions], decide)],
  [1, command('decideStale', [which], decideStale)],
  [1, command('cleanUp', [who, findings], cleanUp)],
  [1, command('purge', [which], purge)],
];
export const happenings: fc.Arbitrary<Command>[] = weighted.flatMap(([times, arbitrary]) =>
  Array.from({ length: times }, () => arbitrary),
);

// ---- agents

async function start(world: ModelWorld, job: number, targets: number): Promise<void> {
  if ((await openRuns(world)).length < maxOpenRuns) await world.start(job, targets);
}

async function claim(world: ModelWorld, delivered: boolean): Promise<void> {
  await world.claim(delivered);
}

async function begin(world: ModelWorld, which: number, told: boolean): Promise<void> {
  const [agent, entry] = entryOf(world, which, ['leased']);
  if (entry !== undefined) await world.begin(agent, entry, told);
}

async function end(
  world: ModelWorld,
  which: number,
  outcome: StepOutcome,
  wantsNext: boolean,
  heard: boolean,
  ahead: number,
): Promise<void> {
  const [agent, entry] = entryOf(world, which, ['leased', 'running', 'finished']);
  if (entry === undefined) return;
  if (entry.state === 'leased') await world.begin(agent, entry, heard);
  if (entry.state === 'running') await world.finish(agent, entry, { outcome, wantsNext, ahead });
  if (agent.connected) await world.send(agent, entry, heard);
}

async function succeed(world: ModelWorld, which: number, heard: boolean, ahead: number): Promise<void> {
  await end(world, which, { status: 'succeeded', exitCode: 0 }, true, heard, ahead);
}

async function giveBack(world: ModelWorld, which: number): Promise<void> {
  const dropped = world.agents.find(({ journal }) => [...journal.values()].some(isDropped));
  if (dropped?.connected === true)
    await world.giveBack(dropped, [...dropped.journal.values()].filter(isDropped));
  const [agent, entry] = entryOf(world, which, ['leased']);
  if (entry !== undefined && agent.connected) await world.giveBack(agent, [entry]);
}

function isDropped({ state }: JournalEntry): boolean {
  return state === 'dropped';
}

async function connect(
  world: ModelWorld,
  who: number,
  how: 'intact' | 'restarted' | 'damaged',
): Promise<void> {
  await world.connect(agentOf(world, who), how);
}

async function cut(world: ModelWorld, who: number): Promise<void> {
  await world.cut(agentOf(world, who));
}

/** The agent authenticates again. What it says on the earlier connection is no longer current. */
async function replaced(world: ModelWorld, who: number): Promise<void> {
  const agent = agentOf(world, who);
  await world.t.connect(agent, { ready: false });
  for (const entry of [...agent.journal.values()]) {
    if (entry.state === 'finished') await world.send(agent, entry, false);
  }
  agent.connected = false;
}

async function drain(world: ModelWorld, who: number): Promise<void> {
  const agent = agentOf(world, who);
  if (agent.connected) await world.drain(agent);
}

// ---- time

async function deadline({ t, sweep }: ModelWorld, which: number): Promise<void> {
  const running = await t.sql<{ id: number }[]>`
    select id from job_run_steps where status = 'running' order by id`;
  const step = nth(running, which);
  if (step === undefined) return;
  await t.sql`update job_run_steps set deadline_at = clock_timestamp() - interval '1 s' where id = ${step.id}`;
  await sweep();
}

async function holdExpires({ t, sweep }: ModelWorld): Promise<void> {
  await t.sql`update job_run_steps set held_until = clock_timestamp() - interval '1 s' where status = 'held'`;
  await sweep();
}

async function runTimesOut(world: ModelWorld, which: number): Promise<void> {
  const run = nth(await openRuns(world), which);
  if (run === undefined) return;
  await world.t.sql`update job_runs set started_at = started_at - interval '61 s' where id = ${run.id}`;
  await world.sweep();
}

async function notStartedInTime(world: ModelWorld, which: number): Promise<void> {
  const run = nth(await openRuns(world), which);
  if (run === undefined) return;
  await world.t.sql`
    update job_runs set created_at = created_at - (start_by - clock_timestamp()) - interval '1 s',
      start_by = clock_timestamp() - interval '1 s' where id = ${run.id}`;
  await world.sweep();
}

/**
 * Nothing of the run has moved for a day, except what agents have: waiting steps end if nothing else is in progress.
 */
async function waitsTooLong(world: ModelWorld, which: number): Promise<void> {
  const { sql } = world.t;
  const run = nth(await openRuns(world), which);
  if (run === undefined) return;
  const ago = sql`interval '1 day'`;
  await sql`
    update job_runs set created_at = created_at - ${ago}, start_by = start_by - ${ago} where id = ${run.id}`;
  await sql`
    update job_run_steps set waits_since = waits_since - ${ago}, leased_at = leased_at - ${ago},
      completed_at = completed_at - ${ago} where job_run_id = ${run.id}`;
  await sql`update job_run_step_attempts set settled_at = settled_at - ${ago} where job_run_id = ${run.id}`;
  await endWhatIsDue(world);
  const left = await longWaits(sql, run.id);
  if (left.length > 0) throw new Error(`still waits: ${JSON.stringify(left)}`);
}

async function silence(world: ModelWorld, who: number): Promise<void> {
  const agent = agentOf(world, who);
  await expireLeases(world, agent);
  await world.t.sql`
    update agent_sessions set last_heartbeat_at = clock_timestamp() - interval '1 hour' where agent_id = ${agent.agentId}`;
  await world.sweep();
}

/** The agent is silent for longer than its leases last, but not so long that the steps it runs become unknown. */
async function leaseExpires(world: ModelWorld, who: number): Promise<void> {
  await expireLeases(world, agentOf(world, who));
  await world.t.sql`
    update job_runs set cancel_requested_at = cancel_requested_at - interval '1 minute'
    where cancel_requested_at is not null`;
  await world.t.sql`
    update job_run_targets set cancel_requested_at = cancel_requested_at - interval '1 minute'
    where cancel_requested_at is not null`;
  await world.sweep();
}

async function expireLeases(world: ModelWorld, agent: ModelAgent): Promise<void> {
  await world.cut(agent);
  for (const entry of agent.journal.values()) if (entry.state === 'leased') entry.state = 'expired';
  await world.t.sql`
    update agent_sessions set expires_at = clock_timestamp() - interval '1 minute',
      last_heartbeat_at = last_heartbeat_at - interval '1 minute'
    where agent_id = ${agent.agentId}`;
}

/**
 * Retry delays are over, attempts that became unknown can't still be going on, and locks have been held for a while.
 */
export async function timePasses({ t, sweep }: ModelWorld): Promise<void> {
  await t.sql`update job_run_steps set not_before = clock_timestamp() where isfinite(not_before)`;
  await t.sql`
    update job_run_steps set deadline_at = deadline_at - interval '1 day' where status = 'unknown'`;
  await t.sql`update lock_slots set taken_at = taken_at - interval '1 minute'`;
  await sweep();
}

/** Servers and database are gone for an hour: every deadline moves by that hour. */
async function databaseDown(world: ModelWorld): Promise<void> {
  const { sql } = world.t;
  // Anything that was already due ends for that reason, such as a lease that came back unbegun after its run's
  // start_within.
  await endWhatIsDue(world);
  const ago = sql`interval '1 hour'`;
  await sql`update cluster_clock set touched_at = touched_at - ${ago}`;
  await sql`update agent_sessions set last_heartbeat_at = last_heartbeat_at - ${ago}, expires_at = expires_at - ${ago}`;
  await sql`
    update job_run_steps set leased_at = leased_at - ${ago}, deadline_at = deadline_at - ${ago},
      held_until = held_until - ${ago} where status in ('running', 'held')`;
  await sql`update job_runs set created_at = created_at - ${ago}, start_by = start_by - ${ago}`;
  await sql`
    update job_run_steps set waits_since = waits_since - ${ago}, completed_at = completed_at - ${ago}`;
  await sql`update job_run_step_attempts set settled_at = settled_at - ${ago}`;
  const before = await statuses(sql);
  await world.sweep();
  await endWhatIsDue(world);
  const after = await statuses(sql);
  if (after !== before) throw new Error(`an hour without a database made of ${before}: ${after}`);
}

/**
 * Sweeps and ends waits that are overdue, since not every sweep looks at long waits. This takes several rounds if the
 * end of a batch opens the next one, which is then overdue too.
 */
async function endWhatIsDue({ t, sweep }: ModelWorld): Promise<void> {
  for (let n = 0; n < mostBatches; n += 1) {
    await sweep();
    for (const id of await runsThatWait(t.sql)) await endLongWaits(t.sql, id);
  }
}

async function statuses(sql: ModelWorld['t']['sql']): Promise<string> {
  // Some steps may now be claimable or due for a retry, but none ends.
  return JSON.stringify(await sql`select id, status from job_run_steps order by id`);
}

// ---- people

async function cancel(world: ModelWorld, which: number, force: boolean): Promise<void> {
  const run = nth(await allRuns(world), which);
  if (run === undefined) return;
  const { sql, caller } = world.t;
  const hasEnded = isRunEnded(run.status);
  const isOver = hasEnded && (await countUntoldAttempts(sql, run.id)) === 0;
  const cancelled = cancelRun(sql, run.id, caller, { force });
  if (isOver) await refused(cancelled);
  else await cancelled;
  const after = (await allRuns(world)).find(({ id }) => id === run.id);
  if (hasEnded && after?.status !== run.status)
    throw new Error(`cancelled after its end it is ${after?.status}, and was ${run.status}`);
}

async function cancelOne(world: ModelWorld, which: number, force: boolean): Promise<void> {
  const { sql, caller } = world.t;
  const all = await sql<{ id: number; runId: number; status: RunStatus; wasAsked: boolean }[]>`
    select t.id, t.job_run_id as run_id, t.status,
      t.cancel_requested_at is not null or r.status = 'cancelling' as was_asked
    from job_run_targets t join job_runs r on r.id = t.job_run_id
    order by t.status in ('queued', 'running', 'cancelling', 'held') desc, t.id`;
  const target = nth(all, which);
  if (target === undefined) return;
  const { id: targetRunId, runId, status, wasAsked } = target;
  const hasEnded = isRunEnded(status);
  const isOver = hasEnded && !wasAsked && (await countUntoldAttempts(sql, runId, targetRunId)) === 0;
  const others = () => sql`
    select st.id, st.status, st.epoch from job_run_steps st join job_run_targets t on t.id = st.target_run_id
    where t.id <> ${targetRunId} and t.is_open and t.status in ('running', 'cancelling', 'held') order by st.id`;
  const before = await others();
  const cancelled = cancelTargetRun(sql, { runId, targetRunId }, caller, { force });
  if (isOver) await refused(cancelled);
  else await cancelled;
  const [after] = await sql<{ status: RunStatus; waits: boolean }[]>`
    select t.status, exists (select from job_run_steps st where st.target_run_id = t.id
      and st.status in ('ready', 'held') and not st.is_clean_up) as waits
    from job_run_targets t where t.id = ${targetRunId}`;
  if (after?.waits === true) throw new Error(`cancelled target run ${targetRunId} still waits`);
  if (hasEnded && after?.status !== status)
    throw new Error(`cancelled after its end it is ${after?.status}, and was ${status}`);
  if (JSON.stringify(await others()) !== JSON.stringify(before))
    throw new Error(`the cancel of target run ${targetRunId} changed what goes on in others`);
}

async function decideStale({ t }: ModelWorld, which: number): Promise<void> {
  const all = await t.sql<{ id: number; epoch: number; jobRunId: number }[]>`
    select id, epoch, job_run_id from job_run_steps order by status = 'held' desc, id`;
  const step = nth(all, which);
  if (step === undefined) return;
  const steps = [{ id: step.id, attempt: step.epoch + 1 }];
  const request = { decision: 'retry' as const, note: 'seen long ago', steps };
  await refused(decideHeld(t.sql, step.jobRunId, request, t.caller));
}

async function purge(world: ModelWorld, which: number): Promise<void> {
  const ended = (await allRuns(world)).filter(({ status }) => isRunEnded(status));
  const run = nth(ended, which);
  if (run !== undefined) await inTransaction(world.t.sql, (tx) => purgeRun(tx, run.id));
}

async function decide(
  { t }: ModelWorld,
  which: number,
  decision: 'succeeded' | 'failed' | 'retry' | 'cancel',
): Promise<void> {
  const held = await t.sql<{ id: number; epoch: number; jobRunId: number }[]>`
    select id, epoch, job_run_id from job_run_steps where status = 'held' order by id`;
  const step = nth(held, which);
  if (step === undefined) return;
  const steps = which % 2 === 0 ? { steps: [{ id: step.id, attempt: step.epoch }] } : {};
  await decideHeld(t.sql, step.jobRunId, { decision, note: 'looked', ...steps }, t.caller);
}

async function cleanUp(
  { t, agents }: ModelWorld,
  who: number,
  found: 'nothing' | 'ended' | 'survivors' | 'unreachable',
): Promise<void> {
  const agent = agents[who % agents.length];
  if (agent === undefined) return;
  await t.sql`update attempt_clean_ups set due_at = clock_timestamp() - interval '1 s', asked_at = asked_at - interval '1 hour'`;
  const due = await takeDueCleanUps(t.sql, { segmentId: t.segmentId, agentId: agent.agentId }, 10);
  await inTransaction(t.sql, async (tx) => {
    const answers = due.map(({ stepId, epoch }) => ({ step: stepId, epoch, found, survivors: null }));
    const noted = await noteCleanUps(tx, agent.agentId, answers);
    if (found === 'nothing' || found === 'ended')
      await freeLocksOfCleaned(
        tx,
        noted.map(({ stepId }) => stepId),
      );
  });
}

// ---- picking

function agentOf({ agents }: ModelWorld, who: number): ModelAgent {
  const agent = agents[who % agents.length];
  if (agent === undefined) throw new Error('no agent');
  return agent;
}

function entryOf(
  { agents }: ModelWorld,
  which: number,
  states: readonly JournalEntry['state'][],
): [ModelAgent, JournalEntry] | [never, undefined] {
  const all = agents.flatMap((agent) =>
    [...agent.journal.values()].map((entry): [ModelAgent, JournalEntry] => [agent, entry]),
  );
  const fitting = all.filter(([, { state, after }]) => states.includes(state) && after === undefined);
  return nth(fitting, which) ?? [undefined as never, undefined];
}

function nth<T>(list: readonly T[], which: number): T | undefined {
  return list[which % Math.max(1, list.length)];
}

async function allRuns({ t }: ModelWorld): Promise<{ id: number; status: RunStatus }[]> {
  return t.sql<{ id: number; status: RunStatus }[]>`select id, status from job_runs order by id`;
}

export async function openRuns(world: ModelWorld): Promise<{ id: number; status: RunStatus }[]> {
  return (await allRuns(world)).filter(({ status }) => !isRunEnded(status));
}

async function refused(promise: Promise<unknown>): Promise<void> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if ((error as { code?: string } | undefined)?.code !== 'conflict')
    throw error ?? new Error('it was not refused');
}
