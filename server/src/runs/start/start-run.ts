// Starts a run: a version of the job on the chosen targets, with the values given. It is refused whole, or queued whole.
import { randomInt } from 'node:crypto';
import {
  defaultTimeoutS,
  type JobDefinition,
  limits,
  type RunSelection,
  type RunStrategy,
  resolveStrategy,
  type SecretParameters,
  type Strategy,
  type TargetSelection,
} from '@opsconductor/protocol';
import type { SignedGrant } from '@opsconductor/protocol/grants';
import { decodeBase64 } from '@opsconductor/protocol/sealing';
import { recordAudit } from '../../audit/record-audit.ts';
import { MissingPermission } from '../../auth/missing-permission.ts';
import { auditedBy, type Caller } from '../../caller.ts';
import { newDataKey, wrapDataKey } from '../../credentials/at-rest/data-key.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import { AppError, notFound } from '../../errors.ts';
import { loadJobVersion } from '../../jobs/load-job-version.ts';
import { runAsCredential } from '../../jobs/require-credential-use.ts';
import { stepNeedsOf } from '../../jobs/step-needs.ts';
import { resolveVersion } from '../../jobs/versions/resolve-version.ts';
import { type Sql, sqlState, type Tx } from '../../store/database/connection.ts';
import {
  boundLockWaits,
  commitWithThese,
  hasCommitted,
  inTransaction,
} from '../../store/database/transaction.ts';
import { insertRun, planRun, type RunPlan } from '../../store/runs/run-creation.ts';
import { bindToAgents, isGrantUsed } from '../../store/runs/run-grants.ts';
import { notifyProgress } from '../../store/runs/run-progress.ts';
import { insertRunSecrets, writeStepOutputs } from '../../store/runs/run-values.ts';
import { findRun, type RunRecord } from '../../store/runs/runs.ts';
import { type SelectedRow, selectTargets } from '../../store/targets/target-selection.ts';
import { readSelection, refuseTooMany, requireFound } from '../../targets/read-selection.ts';
import { sentenceOf } from '../../targets/selection-problems.ts';
import { Turns } from '../../turns.ts';
import { grantOfStart } from '../grants/check-grant.ts';
import { sealGrant } from '../grants/grant-at-rest.ts';
import type { ClaimAlong, ClaimsAlong } from '../leases/claim-along.ts';
import { opensWith } from '../progress/follow-strategy.ts';
import type { ProgressNews } from '../progress/run-ledger.ts';
import { type RunKeys, runKeyContext } from '../run-keys.ts';
import { carriedOutputs } from '../values/carry-outputs.ts';
import { checkValues } from '../values/check-values.ts';
import { copyValues } from '../values/copy-values.ts';
import { type SealedSecrets, sealSecrets } from '../values/seal-secrets.ts';
import { sealParameters } from '../values/values-at-rest.ts';
import { orderTargets } from './order-targets.ts';
import { runNumbers } from './run-numbers.ts';
import { type RequestKey, requestDigest } from './start-once.ts';

export interface StartRun {
  jobId: number;
  selection: TargetSelection;
  /** Seconds; the job's own `start_within` when left out. */
  startWithinS?: number | undefined;
  /** In place of what the job says; see `requireOverrides`. */
  priority?: number | undefined;
  strategy?: Strategy | undefined;
  timeoutS?: number | undefined;
  /** Number, tag or channel of a version; the current one when left out. */
  version?: number | string | undefined;
  parameters?: Record<string, unknown> | undefined;
  secretParameters?: SecretParameters | undefined;
  reason?: string | undefined;
  /** What its signers allow, where agents of its segments ask for that. */
  grant?: SignedGrant | undefined;
  /** The version of a run that it has had, on targets of that. */
  rerun?: Rerun | undefined;
  /** Makes a run once; see `startOnce`. */
  requested?: RequestKey | undefined;
}

export interface Rerun {
  runId: number;
  jobVersion: number;
  which: string;
  /** First step by target, where that is not step 1. */
  firstSteps: ReadonlyMap<number, number>;
}

/** Seconds between TERM and KILL when a step doesn't say. */
const defaultKillGraceS = 10;
const maxDetails = 100;
/** A run with more first steps is claimed by itself: until its rows are written nothing else could be. */
const maxTargetsClaimedAlong = 100;
/** While a start has a claim with it, its server makes no other. */
const maxLockWaitWithClaimMs = 250;
const lockNotAvailable = '55P03';
const nothingNew: ProgressNews = { runs: [], segments: [], cancel: [] };
/** Of a reference to what is not there, and of one that is null because that was deleted. */
const goneViolations: readonly unknown[] = ['23503', '23502'];

export interface StartRunDeps {
  sql: Sql;
  /** What the run is written by, in place of `sql`. */
  queue?: Sql;
  masterKey: MasterKey;
  identity: { installationId: string };
  /** Given the run's data key, so that its first output waits for none. */
  keys?: Pick<RunKeys, 'remember'>;
  /** Leases its first steps with its commit. */
  claims?: ClaimsAlong;
}

export interface Started {
  runId: number;
  /** What is still to be published on this server. */
  news: ProgressNews;
  /** The run as it was committed; rejects where the connection was lost on its way. */
  run: Promise<RunRecord | undefined>;
}

/**
 * Starts a run on what the selection comes to.
 *
 * @throws {AppError} `not_found` for a job, target or group that the caller does not see; `forbidden` where they may not
 * run the job, run on a target or use credentials there; `invalid` for targets that can't be run on. Each names the
 * place in the request, or the targets.
 */
export async function startRun(deps: StartRunDeps, request: StartRun, caller: Caller): Promise<Started> {
  const turns = turnsOf(deps.queue ?? deps.sql);
  await turns.take();
  try {
    return await queueOrWait(deps, request, caller);
  } catch (error) {
    // The job or a target was deleted since it was read, or the grant used: reading again names it.
    if (goneViolations.includes(sqlState(error)) || isGrantUsed(error))
      return await queueOrWait(deps, request, caller);
    throw error;
  } finally {
    turns.done();
  }
}

const turnsOfPools = new WeakMap<Sql, Turns>();

/**
 * Half of the connections that starts have their transactions on: each is open while it reads over the other pool, and
 * what agents send goes on beside them. Without a pool for the queue they read over the same one, which needs the rest.
 */
function turnsOf(sql: Sql): Turns {
  const turns = turnsOfPools.get(sql) ?? new Turns(Math.max(1, Math.floor(sql.options.max / 2)));
  turnsOfPools.set(sql, turns);
  return turns;
}

/** Where it has to wait for others, as for who deletes one of its targets, it does so without a claim: nobody else waits then. */
async function queueOrWait(deps: StartRunDeps, request: StartRun, caller: Caller): Promise<Started> {
  try {
    return await queueRun(deps, request, caller);
  } catch (error) {
    const { claims, ...alone } = deps;
    if (claims === undefined || sqlState(error) !== lockNotAvailable) throw error;
    return await queueRun(alone, request, caller);
  }
}

async function queueRun(deps: StartRunDeps, request: StartRun, caller: Caller): Promise<Started> {
  const { sql, masterKey } = deps;
  // Read while the transaction opens, and written with its commit: each round trip is waited for by a person.
  const readingJob = readJob(sql, request.jobId, caller);
  const readingVersion = versionOf(sql, request);
  const readingTargets = readingVersion.then((version) => resolveTargets(sql, request, version, caller));
  // Met inside the transaction, unless that could not be opened; the job's first, whichever comes first.
  for (const reading of [readingJob, readingVersion, readingTargets]) reading.catch(() => undefined);
  const dataKey = newDataKey();
  const claim = new OneClaim();
  let isSent = false;
  const work = async (tx: Tx) => {
    const job = await readingJob;
    const version = (await readingVersion) ?? job.version;
    const { targets, selection } = await readingTargets;
    const { definition } = await loadJobVersion({ sql: tx, masterKey }, request.jobId, version);
    requireOverrides(request, definition, job, caller);
    const ordered = orderForStart(request.strategy ?? definition.strategy, targets);
    const { runId } = job;
    const segments = [...new Set(targets.map((target) => target.segmentId))];
    const given = await valuesFor({ ...deps, sql: tx }, request, definition, segments);
    const signed = await grantOfStart(deps, request.grant, {
      ...{ jobId: request.jobId, jobVersion: version, startedBy: caller.name },
      ...{ values: given.values ?? {}, secrets: given.secrets, segmentIds: segments },
      targetIds: targets.map(({ id }) => id),
      signedOnly: targets.some(({ signedOnly }) => signedOnly),
      isRerun: request.rerun !== undefined,
    });
    const news = { runs: [{ id: runId, seq: 0, ended: false }], segments, cancel: [] };
    const detail = {
      jobId: request.jobId,
      jobVersion: version,
      selection,
      ...overridesOf(request),
      ...(isTrial(job) ? { isTrial: true } : {}),
      ...valuesTold(request, given),
      ...credentialsUsed(definition, targets),
      ...(signed === undefined ? {} : { signedBy: signed.terms.signer.key }),
    };
    const needs = stepNeedsOf(definition);
    const newRun = {
      id: runId,
      jobId: request.jobId,
      jobVersion: version,
      dataKey: wrapDataKey(masterKey, dataKey, runKeyContext(request.jobId)),
      startWithinS: request.startWithinS ?? definition.start_within ?? limits.startWithinS,
      createdBy: caller.userId,
      selection,
      priority: request.priority ?? definition.priority ?? 0,
      timeoutS: request.timeoutS ?? definition.timeout ?? null,
      locks: definition.locks ?? [],
      strategy: ordered.strategy,
      rerunOf: request.rerun?.runId ?? null,
      isTrial: isTrial(job),
      parameters: given.values === undefined ? null : sealParameters(dataKey, runId, given.values),
      secretsId: given.secrets?.id ?? null,
      grant:
        request.grant === undefined || signed === undefined
          ? null
          : {
              sealed: sealGrant(dataKey, runId, request.grant),
              nonce: decodeBase64(signed.terms.nonce),
            },
      versionRef: refOf(request),
      reason: request.reason ?? null,
      request:
        request.requested === undefined
          ? null
          : { key: request.requested.key, digest: requestDigest(dataKey, request.requested) },
      targets: ordered.targets.map(({ id, name, segmentId }) => {
        const firstStep = request.rerun?.firstSteps.get(id);
        return { id, name, segmentId, ...(firstStep === undefined ? {} : { firstStep }) };
      }),
      steps: definition.steps.map((step, index) => ({
        number: index + 1,
        type: step.type,
        timeBudgetS: timeBudgetOf(step),
        ...(needs[index] ? { needs: needs[index] } : {}),
      })),
    };
    const auditEntry = {
      ...auditedBy(caller),
      action: 'run.started',
      object: { kind: 'run', id: runId },
      scope: { categoryId: job.categoryId },
      detail,
    };
    const along =
      targets.length > maxTargetsClaimedAlong ? undefined : claim.begin(deps.claims?.claimAlong(news), tx);
    try {
      isSent = true;
      const bound = along === undefined ? undefined : boundLockWaits(tx, maxLockWaitWithClaimMs);
      // Met below, unless what follows fails before.
      bound?.catch(() => undefined);
      const inserted = insertRun(tx, newRun);
      const carried = leavesOutOutputs(request, definition)
        ? await inserted.then(() =>
            carriedOutputs({ sql: tx, masterKey }, { from: request.rerun?.runId ?? 0, to: runId, dataKey }),
          )
        : [];
      const sent = [
        bound,
        inserted,
        bindToAgents(tx, runId, signed?.bound ?? []),
        writeStepOutputs(tx, carried),
        insertRunSecrets(tx, runId, given.secrets?.secrets ?? []),
        recordAudit(tx, auditEntry),
        notifyProgress(tx, news),
      ];
      if (along !== undefined)
        sent.push(along.claim(tx, { jobRunId: runId, claimRank: -newRun.priority, segmentIds: segments }));
      sent.push(commitWithThese(tx));
      const run = findRun(tx, runId);
      // Met by the caller, unless nothing was committed.
      run.catch(() => undefined);
      await Promise.all(sent);
      return { runId, news: along === undefined ? news : nothingNew, run };
    } finally {
      claim.over();
    }
  };
  try {
    const started = await inTransaction(deps.queue ?? sql, work);
    deps.keys?.remember(started.runId, dataKey);
    return started;
  } catch (error) {
    if (!isSent) readingJob.then(({ runId }) => runNumbers(sql).putBack(runId)).catch(() => undefined);
    throw error;
  } finally {
    // Of a connection that is lost the driver may forget statements: then the work itself never ends.
    claim.over();
  }
}

/** The claim that goes along with a transaction: no other is made until it is over, so that is told whatever happens. */
class OneClaim {
  #over: (() => void) | undefined;

  begin(along: ClaimAlong | undefined, tx: Tx): ClaimAlong | undefined {
    this.over();
    if (along !== undefined) this.#over = () => along.over(hasCommitted(tx));
    return along;
  }

  over(): void {
    this.#over?.();
    this.#over = undefined;
  }
}

/** What such a run would be on; refused as its start would be. */
export async function planStart(
  sql: Sql,
  request: Pick<StartRun, 'jobId' | 'selection' | 'version'>,
  caller: Caller,
): Promise<{ jobVersion: number; targets: SelectedRow[] }> {
  const job = await readJob(sql, request.jobId, caller);
  runNumbers(sql).putBack(job.runId);
  const version = await versionOf(sql, request);
  const { targets } = await resolveTargets(sql, request, version, caller);
  return { jobVersion: version ?? job.version, targets };
}

interface GivenToRun {
  /** Undefined for a job without parameters. */
  values: Record<string, unknown> | undefined;
  secrets: SealedSecrets | undefined;
}

/** What the run's steps are rendered with: given now, or as the run had it that is run again. */
async function valuesFor(
  deps: Omit<StartRunDeps, 'sql'> & { sql: Tx },
  { jobId, rerun, parameters, secretParameters }: StartRun,
  definition: JobDefinition,
  segmentIds: readonly number[],
): Promise<GivenToRun> {
  const hasParameters = Object.keys(definition.parameters ?? {}).length > 0;
  if (rerun !== undefined) {
    return hasParameters
      ? copyValues(deps, rerun.runId, segmentIds)
      : { values: undefined, secrets: undefined };
  }
  const sealedNames = Object.keys(secretParameters?.values ?? {});
  const { values, secrets } = checkValues(definition, { parameters, sealedNames });
  const { identity, sql } = deps;
  const { installationId } = identity;
  const toSeal = { installationId, jobId, segmentIds, plain: secrets, sealed: secretParameters };
  return { values: hasParameters ? values : undefined, secrets: await sealSecrets(sql, toSeal) };
}

/** Whether steps are left out that may have handed something on. */
function leavesOutOutputs({ rerun }: StartRun, { steps }: JobDefinition): boolean {
  return (
    rerun !== undefined && rerun.firstSteps.size > 0 && steps.some(({ outputs }) => outputs !== undefined)
  );
}

/** For the audit row: what it was given by name. Values may be anybody's. */
function valuesTold(request: StartRun, { values, secrets }: GivenToRun) {
  const { reason } = request;
  const versionRef = refOf(request);
  const secretNames = [...new Set(secrets?.secrets.map(({ name }) => name))];
  return {
    ...(values === undefined ? {} : { parameters: [...Object.keys(values), ...secretNames] }),
    ...(versionRef === null ? {} : { versionRef }),
    ...(reason === undefined ? {} : { reason }),
  };
}

/** The tag or channel that was asked for. */
function refOf({ version }: StartRun): string | null {
  return typeof version === 'string' ? version : null;
}

/** The targets in the order in which they start, and how the strategy holds for them. */
function orderForStart(
  strategy: Strategy | undefined,
  targets: readonly SelectedRow[],
): { targets: readonly SelectedRow[]; strategy: (RunStrategy & { opens: number }) | null } {
  if (strategy === undefined) return { targets, strategy: null };
  const seed = randomInt(2 ** 32);
  const resolved = resolveStrategy(strategy, targets.length, seed);
  return {
    targets: orderTargets(targets, resolved.order, seed),
    strategy: { ...resolved, opens: opensWith(resolved, targets.length) },
  };
}

/** For the audit row: what was asked for at the start, beside the targets. */
function overridesOf({ priority, strategy, timeoutS, version, rerun }: StartRun) {
  return {
    ...(version === undefined ? {} : { versionAsked: version }),
    ...(priority === undefined ? {} : { priority }),
    ...(strategy === undefined ? {} : { strategy }),
    ...(timeoutS === undefined ? {} : { timeoutS }),
    ...(rerun === undefined ? {} : { rerunOf: rerun.runId, which: rerun.which }),
  };
}

/**
 * What loosens the author's limits is for who may edit the job: a higher priority, a strategy in place of the job's, a
 * longer timeout.
 */
function requireOverrides(request: StartRun, definition: JobDefinition, job: RunPlan, caller: Caller): void {
  const { priority, strategy, timeoutS } = request;
  const isLonger =
    timeoutS !== undefined && definition.timeout !== undefined && timeoutS > definition.timeout;
  const loosened = [
    ...(priority !== undefined && priority > (definition.priority ?? 0) ? ['priority'] : []),
    ...(strategy !== undefined && definition.strategy !== undefined ? ['strategy'] : []),
    ...(isLonger ? ['timeout'] : []),
  ];
  if (loosened.length === 0 || caller.authority.holdsOnCategory('jobs.edit', job.categoryId)) return;
  const details = loosened.map((path) => ({
    path,
    message: `Only who may edit the job may set ${path} beyond what the job says; leave it out.`,
  }));
  throw new MissingPermission(caller, 'jobs.edit', `category “${job.category}”`, details);
}

/**
 * For the audit row: what the targets have or inherit, most used first, and what steps name. Ids alone of the former: who
 * may read of the job's category need not know of segments.
 */
function credentialsUsed(
  definition: Pick<JobDefinition, 'connection' | 'steps'>,
  targets: readonly SelectedRow[],
): { credentials: { id: string; targets: number }[]; namedCredentials: string[] } {
  const asked = definition.steps.map(
    (step) => step.connection?.credential ?? definition.connection?.credential,
  );
  const counts = new Map<string, number>();
  if (asked.includes(undefined)) {
    for (const { credentialId } of targets)
      if (credentialId !== null) counts.set(credentialId, (counts.get(credentialId) ?? 0) + 1);
  }
  const used = [...counts].map(([id, count]) => ({ id, targets: count }));
  return {
    credentials: used.sort((a, b) => b.targets - a.targets).slice(0, maxDetails),
    namedCredentials: [
      ...new Set([...asked, ...definition.steps.map(runAsCredential)].filter((name) => name !== undefined)),
    ],
  };
}

/** Timeout and kill grace of a step, in seconds, from its validated configuration. */
function timeBudgetOf({ type, config }: { type: string; config: unknown }): number {
  const { timeout, kill_grace: killGrace } = config as { timeout?: number; kill_grace?: number };
  return (timeout ?? defaultTimeoutS(type)) + (killGrace ?? defaultKillGraceS);
}

/** The job, for somebody who may run it. Its targets are looked at by `resolveTargets`. */
async function readJob(sql: Sql, jobId: number, caller: Caller): Promise<RunPlan> {
  const numbers = runNumbers(sql);
  const job = await numbers.draw((unused) => planRun(sql, jobId, unused));
  if (job === undefined) throw notFound(`Job ${jobId}`);
  try {
    requireRunnable(job, jobId, caller);
  } catch (error) {
    numbers.putBack(job.runId);
    throw error;
  }
  return job;
}

/** The version that is asked for; undefined for the current one. */
async function versionOf(
  sql: Sql,
  { jobId, version, rerun }: Pick<StartRun, 'jobId' | 'version' | 'rerun'>,
): Promise<number | undefined> {
  if (rerun !== undefined) return rerun.jobVersion;
  return version === undefined ? undefined : resolveVersion(sql, jobId, version);
}

/** Only active jobs run, by who may run them; a draft or a template for trial, by who may edit it. */
function requireRunnable(job: RunPlan, jobId: number, caller: Caller): void {
  const { authority } = caller;
  if (!authority.holdsOnCategory('read', job.categoryId)) throw notFound(`Job ${jobId}`);
  if (!authority.holdsOnCategory('run', job.categoryId)) {
    throw new MissingPermission(caller, 'run', `category “${job.category}”`);
  }
  if (job.state === 'inactive') {
    throw new AppError('conflict', `Job “${job.name}” is inactive: activate it to run it.`);
  }
  if (job.state === 'archived') {
    throw new AppError('conflict', `Job “${job.name}” is archived: restore and activate it to run it.`);
  }
  if (!isTrial(job) || authority.holdsOnCategory('jobs.edit', job.categoryId)) return;
  const what = job.isTemplate ? 'a template' : 'a draft';
  throw new MissingPermission(caller, 'jobs.edit', `category “${job.category}”`, [
    { path: '', message: `Job “${job.name}” is ${what}: who may edit it can run it, for trial.` },
  ]);
}

function isTrial({ state, isTemplate }: RunPlan): boolean {
  return state === 'draft' || isTemplate;
}

async function resolveTargets(
  sql: Sql,
  request: Pick<StartRun, 'jobId' | 'selection'>,
  jobVersion: number | undefined,
  caller: Caller,
): Promise<{ targets: SelectedRow[]; selection: RunSelection }> {
  const { jobId, selection } = request;
  const { authority } = caller;
  const read = authority.reach('read');
  const { query, asked } = await readSelection(sql, selection, read);
  const reaches = { read, run: authority.reach('run'), credentials: authority.reach('credentials.use') };
  const limit = limits.maxTargetsPerRun + 1;
  const targets = await selectTargets(sql, query, reaches, { jobId, jobVersion, limit });
  refuseTooMany(targets.length);
  requireFound(
    selection,
    targets.map((target) => target.id),
  );
  if (targets.length === 0) throw new AppError('invalid', 'No target is selected that a run could take.');
  refuseProblems(selection.targetIds ?? [], targets, caller);
  return { targets, selection: { ...asked, selected: targets.length } };
}

/** A run takes all that is selected or nothing; what is in the way is told of each target. */
function refuseProblems(askedIds: readonly number[], targets: readonly SelectedRow[], caller: Caller): void {
  const indexOf = new Map(askedIds.map((id, index) => [id, index]));
  const problems = targets.flatMap((row) => {
    const { problem } = row;
    if (problem === null) return [];
    const index = indexOf.get(row.id);
    const path = index === undefined ? 'selector' : `targetIds[${index}]`;
    return [{ problem, detail: { path, found: row.name, message: sentenceOf(problem, row) } }];
  });
  const forbidden = problems.find(({ problem }) => problem.endsWith('_forbidden'));
  const details = problems.slice(0, maxDetails).map(({ detail }) => detail);
  if (forbidden !== undefined) {
    const permission = forbidden.problem === 'run_forbidden' ? 'run' : 'credentials.use';
    throw new MissingPermission(caller, permission, `target “${forbidden.detail.found}”`, details);
  }
  const [first] = details;
  if (first === undefined) return;
  const message =
    problems.length === 1
      ? first.message
      : `${problems.length} targets can’t be run on. The first: ${first.message}`;
  throw new AppError('invalid', message, { details });
}
