// Builds the leases that agents get from claimed steps. Immutable parts (definitions, sealed credentials) are cached.
import type { BecomeConfig, JobDefinition, Lease } from '@opsconductor/protocol';
import { AtRestError } from '../../credentials/at-rest/at-rest-error.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import { hostTrustOf } from '../../host-keys/host-trust-of.ts';
import { runAsCredential } from '../../jobs/checks/require-credential-use.ts';
import { type JobVersion, loadJobVersion } from '../../jobs/versions/load-job-version.ts';
import type { Sql } from '../../store/database/connection.ts';
import type { ClaimedStep } from '../../store/queue/claims/claims.ts';
import {
  credentialByName,
  type LeaseDetails,
  leaseDetails,
  sealedCredential,
} from '../../store/queue/claims/lease-details.ts';
import { connectionOf, leaseTarget, protocolOf } from '../../targets/connection-of.ts';
import { jumpsTo, type KnownJumpHosts } from '../../targets/jump-hosts.ts';
import { wrongProtocol } from '../../targets/selection/selection-problems.ts';
import { LeaseGrants, type SignedStep } from '../grants/lease-grants.ts';
import { LeaseRenderings, type StepToRender } from '../values/lease-renderings.ts';
import { whyUnreadable, whyUnreadableHere } from '../why-unreadable.ts';
import { StepsAhead } from './steps-ahead.ts';

const maxCachedCredentials = 1_000;

export interface UnbuildableStep {
  step: ClaimedStep;
  message: string;
}

export interface BuiltLeases {
  /** By step id. */
  leases: Map<number, Lease>;
  /** Steps that can no longer be leased, each with the reason. */
  unbuildable: UnbuildableStep[];
  /** Steps of runs under a master key that this server doesn't hold, but another one may. */
  elsewhere: ClaimedStep[];
}

/** What an agent needs to clean up after a step. */
type WayBack = Pick<Lease, 'target' | 'credential'> & { become?: BecomeConfig };
type Reach = Pick<Lease, 'config' | 'target' | 'credential' | 'runAs'>;

export class LeaseBuilder {
  readonly #renderings: LeaseRenderings;
  readonly #grants: LeaseGrants;
  readonly #sql: Sql;
  readonly #masterKey: MasterKey;
  /** Steps asked for in this turn of the event loop, which one query serves. */
  #asked: { stepIds: number[]; rows: Promise<Map<number, LeaseDetails>> } | undefined;
  readonly #credentials = new Map<string, Lease['credential']['sealed']>();
  readonly #ahead = new StepsAhead();
  /** Whether secrets known by their form are masked for jobs that don't set `detect_secrets`. */
  readonly #detectsSecrets: boolean;

  constructor(deps: { sql: Sql; masterKey: MasterKey; detectsSecrets?: boolean }) {
    this.#sql = deps.sql;
    this.#detectsSecrets = deps.detectsSecrets ?? false;
    this.#masterKey = deps.masterKey;
    this.#renderings = new LeaseRenderings(deps);
    this.#grants = new LeaseGrants(deps);
  }

  /** Returns how many steps may be leased ahead of their turn when this leased step ends, beyond the next one. */
  stepsAhead(stepId: number): number {
    return this.#ahead.of(stepId);
  }

  async build(steps: readonly ClaimedStep[]): Promise<BuiltLeases> {
    try {
      return await this.#build(steps);
    } catch (error) {
      if (!(error instanceof AtRestError)) throw error;
      const runIds = new Set(steps.map(({ jobRunId }) => jobRunId));
      const built: BuiltLeases = { leases: new Map(), unbuildable: [], elsewhere: [] };
      if (runIds.size === 1) return { ...built, elsewhere: [...steps] };
      // The error doesn't tell which run it is about, so build each run separately.
      for (const runId of runIds) {
        const ofRun = await this.build(steps.filter(({ jobRunId }) => jobRunId === runId));
        for (const [stepId, lease] of ofRun.leases) built.leases.set(stepId, lease);
        built.unbuildable.push(...ofRun.unbuildable);
        built.elsewhere.push(...ofRun.elsewhere);
      }
      return built;
    }
  }

  async #build(steps: readonly ClaimedStep[]): Promise<BuiltLeases> {
    const leases = new Map<number, Lease>();
    const unbuildable: UnbuildableStep[] = [];
    if (steps.length === 0) return { leases, unbuildable, elsewhere: [] };
    const bare = steps.filter((step) => step.details === undefined).map((step) => step.id);
    const byStep = bare.length === 0 ? undefined : await this.#details(bare);
    const toRender: StepToRender[] = [];
    const toSign: SignedStep[] = [];
    const add = (stepId: number, more: Pick<Lease, 'rendering'> | Pick<Lease, 'grant'> | string) => {
      const lease = leases.get(stepId);
      if (lease === undefined) return;
      if (typeof more !== 'string') {
        leases.set(stepId, { ...lease, ...more });
        return;
      }
      leases.delete(stepId);
      unbuildable.push(...steps.filter(({ id }) => id === stepId).map((step) => ({ step, message: more })));
    };
    const known: KnownJumpHosts = new Map();
    for (const step of steps) {
      const details = step.details ?? byStep?.get(step.id);
      const built = await this.#lease(step, details, known);
      if (typeof built === 'string') {
        unbuildable.push({ step, message: built });
        continue;
      }
      const { lease, definition } = built;
      leases.set(step.id, lease);
      const { id: stepId, jobRunId: runId, stepNumber } = step;
      toRender.push({ stepId, runId, stepNumber, definition, target: lease.target });
      this.#ahead.note(stepId, { definition, stepNumber, isSigned: details?.isSigned === true });
      if (details?.isSigned)
        toSign.push({ stepId, runId, stepNumber, definition, targetId: lease.target.id });
    }
    for (const [stepId, rendering] of await this.#renderings.of(toRender))
      add(stepId, typeof rendering === 'string' ? rendering : { rendering });
    for (const [stepId, grant] of await this.#grants.of(toSign))
      add(stepId, typeof grant === 'string' ? grant : { grant });
    return { leases, unbuildable, elsewhere: [] };
  }

  #details(stepIds: readonly number[]): Promise<Map<number, LeaseDetails>> {
    if (this.#asked === undefined) {
      const asked = { stepIds: [] as number[], rows: Promise.resolve(new Map<number, LeaseDetails>()) };
      asked.rows = new Promise<void>((next) => setImmediate(next)).then(async () => {
        this.#asked = undefined;
        const rows = await leaseDetails(this.#sql, asked.stepIds);
        return new Map(rows.map((row) => [row.stepId, row]));
      });
      this.#asked = asked;
    }
    this.#asked.stepIds.push(...stepIds);
    return this.#asked.rows;
  }

  /**
   * Returns how to reach the targets of these steps, what opens them, and which user they ran as. Left out are steps
   * whose target can no longer be reached or whose job can't be read.
   */
  async waysBack(stepIds: readonly number[]): Promise<Map<number, WayBack>> {
    const ways = new Map<number, WayBack>();
    if (stepIds.length === 0) return ways;
    const known: KnownJumpHosts = new Map();
    for (const [stepId, row] of await this.#details(stepIds)) {
      const reached = await this.#reach(row, known).catch((error) => whyUnreadableHere('Its job', error));
      if (typeof reached === 'string') continue;
      const { target, credential, config } = reached.reach;
      const { become } = Object(config) as Pick<WayBack, 'become'>;
      ways.set(stepId, { target, credential, ...(become === undefined ? {} : { become }) });
    }
    return ways;
  }

  /** Returns how each of these would be reached and opened now, or a sentence on why it can't be. */
  async reaches(rows: readonly LeaseDetails[]): Promise<(Reach | string)[]> {
    const known: KnownJumpHosts = new Map();
    const reaches: (Reach | string)[] = [];
    for (const row of rows) {
      const reached = await this.#reach(row, known);
      reaches.push(typeof reached === 'string' ? reached : reached.reach);
    }
    return reaches;
  }

  async #lease(
    step: ClaimedStep,
    row: LeaseDetails | undefined,
    known: KnownJumpHosts,
  ): Promise<{ lease: Lease; definition: JobDefinition } | string> {
    if (row === undefined) return 'The step is gone.';
    const reached = await this.#reach(row, known);
    if (typeof reached === 'string') return reached;
    const lease = {
      step: step.id,
      epoch: step.epoch,
      leaseToken: step.leaseToken,
      runId: step.jobRunId,
      stepType: step.stepType,
      ...reached.reach,
      ...((reached.definition.detect_secrets ?? this.#detectsSecrets) ? { detectSecrets: true } : {}),
    };
    return { lease, definition: reached.definition };
  }

  async #reach(
    row: LeaseDetails,
    known: KnownJumpHosts,
  ): Promise<{ reach: Reach; definition: JobDefinition } | string> {
    const { targetId, targetSegmentId: segmentId, targetName, host } = row;
    if (targetId === null || segmentId === null || host === null || row.settings === null) {
      return `Target “${targetName}” was deleted after the run was started.`;
    }
    if (row.credentialId === null || row.credentialVersion === null || row.credentialKind === null) {
      return row.askedCredential === null
        ? `Target “${targetName}” has no credential any more.`
        : `The segment of target “${targetName}” has no credential named “${row.askedCredential}” any more.`;
    }
    const version = await this.#versionOf(row);
    if (typeof version === 'string') return version;
    const { definition } = version;
    const asked = definition.steps[row.stepNumber - 1];
    const connection = connectionOf(row.settings, row.port, asked?.connection, definition.connection);
    const needed = protocolOf(asked?.type ?? '');
    if (connection.protocol !== needed) return wrongProtocol(targetName, connection.protocol, 'the step');
    const place = { name: targetName, segmentId };
    const jumps = await jumpsTo(this.#sql, place, connection.jumpHosts, known);
    if (typeof jumps === 'string') return jumps;
    const sealed = await this.#sealed(row.credentialId, row.credentialVersion);
    if (sealed === undefined) return `Credential ${row.credentialId} is gone.`;
    const other = runAsCredential({ config: asked?.config });
    const runAs = other === undefined ? undefined : await this.#named(segmentId, other);
    if (other !== undefined && runAs === undefined)
      return `The segment of target “${targetName}” has no credential named “${other}” any more.`;
    const reach = {
      config: asked?.config,
      target: leaseTarget(
        { id: targetId, name: targetName, host, hostKeys: row.hostKeys, ...hostTrustOf(row.hostTrust, host) },
        connection,
        jumps,
      ),
      credential: { id: row.credentialId, version: row.credentialVersion, kind: row.credentialKind, sealed },
      ...(runAs === undefined ? {} : { runAs }),
    };
    return { reach, definition };
  }

  async #versionOf({ jobId, jobVersion }: LeaseDetails): Promise<JobVersion | string> {
    try {
      return await loadJobVersion({ sql: this.#sql, masterKey: this.#masterKey }, jobId, jobVersion);
    } catch (error) {
      return whyUnreadable(`Version ${jobVersion} of the job`, error);
    }
  }

  async #named(segmentId: number, name: string): Promise<Lease['runAs']> {
    const found = await credentialByName(this.#sql, segmentId, name);
    const sealed = found === undefined ? undefined : await this.#sealed(found.id, found.version);
    return found === undefined || sealed === undefined ? undefined : { ...found, sealed };
  }

  async #sealed(id: string, version: number): Promise<Lease['credential']['sealed'] | undefined> {
    const key = `${id}.${version}`;
    const known = this.#credentials.get(key);
    if (known !== undefined) return known;
    const sealed = (await sealedCredential(this.#sql, id, version)) as
      | Lease['credential']['sealed']
      | undefined;
    if (sealed !== undefined) {
      if (this.#credentials.size >= maxCachedCredentials) this.#credentials.clear();
      this.#credentials.set(key, sealed);
    }
    return sealed;
  }
}
