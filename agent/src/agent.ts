// The agent as a whole, wired together: this is where its parts meet.
import { type Lease, limits } from '@opsconductor/protocol';
import { rosterMember } from '@opsconductor/protocol/sealing';
import { AuditCheckpoint } from './audit-checkpoint.ts';
import { AttemptCleaner } from './clean-up/attempt-cleaner.ts';
import { Backoff } from './connection/backoff.ts';
import { Connection } from './connection/connection.ts';
import { socketOpener } from './connection/open-socket.ts';
import { type ProxySettings, withoutProxy } from './connection/proxy.ts';
import { refusalOf, ServerRefusalFile } from './connection/server-refusal.ts';
import { ContentLink } from './contents/content-link.ts';
import { FileCache } from './contents/file-cache.ts';
import { StagedArtifacts } from './contents/staged-artifacts.ts';
import type { BusyLimits } from './execution/busy.ts';
import { Disk, type DiskOptions } from './execution/disk.ts';
import { Executor } from './execution/executor.ts';
import { type Clock, LeaseDeadline, systemClock } from './execution/lease-deadline.ts';
import { CredentialOpener, type UsableCredential } from './execution/secrets/credential-opener.ts';
import { RunSecrets } from './execution/secrets/run-secrets.ts';
import { SessionHolder } from './execution/session-holder.ts';
import { type KnownStepTypes, standardStepTypes } from './execution/step/known-step-types.ts';
import { GrantGuard } from './grants/grant-guard.ts';
import { readGeneration } from './identity/connect-generation.ts';
import {
  type DataDirectory,
  dataDirectory,
  prepareDataDirectory,
  removeUnfinishedFiles,
} from './identity/data-directory.ts';
import { lockDirectory } from './identity/directory-lock.ts';
import { type Identity, readIdentity } from './identity/identity.ts';
import { OwnKeys } from './identity/own-keys.ts';
import { SegmentKeys } from './identity/segment-keys.ts';
import { Journal } from './journal/journal.ts';
import type { Logger } from './log.ts';
import { type AgentPolicy, emptyPolicy } from './policy/agent-policy.ts';
import { CurrentPolicy } from './policy/current-policy.ts';
import { PolicyGuard } from './policy/policy-guard.ts';
import { RefusalLog } from './policy/refusal-log.ts';
import { HostScanner } from './scans/host-scanner.ts';
import { TargetTester } from './scans/target-tester.ts';
import { SourceReader } from './sources/source-reader.ts';
import { SshPool } from './ssh/pool/pool.ts';
import type { WinrmPolicy } from './steps/winrm/winrm-connection-options.ts';
import { WinrmPool } from './winrm/connection/pool.ts';

const defaultFileCacheBytes = 4 * 1024 ** 3;

export interface AgentOptions {
  /** An enrolled data directory. */
  dataDir: string;
  log: Logger;
  /** How many steps run at a time; 16 by default. */
  slots?: number;
  /**
   * Whether targets may turn off the check of their certificate although no policy names `winrm_unverified`. A policy
   * with `insecure_transports` decides by itself.
   */
  allowUnverifiedWinrm?: boolean;
  /** Above these limits the agent wants nothing new. */
  busyLimits?: BusyLimits;
  /** As in {@link DiskOptions}. */
  minFreeBytes?: number | undefined;
  /** As in {@link DiskOptions}. */
  measureFree?: DiskOptions['measureFree'];
  proxy?: ProxySettings;
  /** What the owner of the machine allows; by default, an empty policy. */
  policy?: AgentPolicy;
  /** Variables that the policy's sources may name; none by default. */
  environment?: NodeJS.ProcessEnv;
  /** Bytes of the server's files to keep when no step uses them; 4 GiB by default. */
  fileCacheBytes?: number;
  /** How long an unused SSH connection is kept; 60 s by default. */
  sshIdleMs?: number;
  /** How long a step that was leased ahead of its turn is kept, in ms; by default as long as all agents do. */
  stepsAheadMs?: number;
  /** Replaces the standard step types. */
  stepTypes?: KnownStepTypes;
  /** Replaces the opening of the lease's sealed credential. */
  openCredential?: (lease: Lease) => Promise<UsableCredential>;
  /** Replaces opening and sealing secret values with the segment key. */
  secrets?: Pick<RunSecrets, 'open' | 'seal' | 'canSeal'>;
  /** Called if another agent has taken the data directory over, because this one stood still: end the process. */
  onDirectoryLost?: () => void;
  clock?: Clock;
  random?: () => number;
  /** Waits between two connections; a real timer by default. Never rejects. */
  wait?: (ms: number, signal: AbortSignal) => Promise<void>;
}

export interface RunningAgent {
  /** Resolves when the first session was resumed. */
  readonly connected: Promise<void>;
  /** Resolves when the agent has ended: stopped, or shut out by the server as a copy. */
  readonly ended: Promise<'stopped' | 'quarantined'>;
  /**
   * Takes nothing more, hands back what has not begun, and resolves when everything else has ended and the server has
   * confirmed it, or after `graceMs`. The agent stays connected. A server that does not accept this agent is not waited
   * for.
   */
  drain(graceMs?: number): Promise<void>;
  /**
   * Reads the policy file again. What runs goes on; what the policy no longer allows is not begun. A wrong file changes
   * nothing.
   */
  readPolicyAgain(file: string): Promise<void>;
  /** Stops at once. The next process reports what still ran as interrupted. */
  stop(): Promise<void>;
}

/**
 * Starts an enrolled agent.
 *
 * @throws {AgentError} if it is not enrolled, or its data directory is in use or damaged.
 */
export async function startAgent(options: AgentOptions): Promise<RunningAgent> {
  const data = dataDirectory(options.dataDir);
  const policy = new CurrentPolicy(options.policy ?? emptyPolicy);
  const identity = await readIdentity(data);
  await prepareDataDirectory(data);
  const lock = await lockDirectory(data.lock, {
    onWait: () =>
      options.log.info(
        'the data directory was last used by an agent in another container; waiting for 10 s to see whether it still runs',
      ),
    onLost: () => options.onDirectoryLost?.(),
  });
  try {
    await removeUnfinishedFiles(data);
    const held = await readGeneration(data.generation);
    const journal = await Journal.open(data.journal, { expected: held.generation > 0 });
    const pool = new SshPool(options.sshIdleMs === undefined ? {} : { idleMs: options.sshIdleMs });
    const winrmPool = new WinrmPool();
    const pools = { ssh: pool, winrm: winrmPool };
    const { executor, holder, refusals } = await wire(options, policy, identity, journal, pools);
    await executor.recover();
    const connection = connect(options, identity, { executor, holder }, data);
    const run = async () => {
      const end = await connection.run();
      await executor.stop();
      await pool.close();
      await winrmPool.close();
      await journal.close();
      await refusals.written();
      await lock.release();
      return end;
    };
    const ended = run();
    return {
      connected: holder.connected,
      ended,
      drain: (graceMs) => drain(executor, graceMs),
      readPolicyAgain: async (file) => {
        const reading = await policy.read(file, options.dataDir, options.log);
        if (reading.accepted) {
          pool.retire();
          winrmPool.retire();
        }
        holder.policyRead(reading);
      },
      stop: async () => {
        connection.stop();
        await ended;
      },
    };
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/** Puts the parts together. Nothing is recovered or connected yet. */
async function wire(
  options: AgentOptions,
  policy: CurrentPolicy,
  identity: Identity,
  journal: Journal,
  pools: { ssh: SshPool; winrm: WinrmPool },
): Promise<{ executor: Executor; holder: SessionHolder; refusals: RefusalLog }> {
  const { log, clock = systemClock } = options;
  const slots = () =>
    Math.min(options.slots ?? limits.defaultSlots, policy.rules.parallelism ?? limits.maxSlots);
  const { installationId } = identity;
  const data = dataDirectory(options.dataDir);
  const monotonicMs = () => clock.monotonicMs();
  const deadline = new LeaseDeadline(clock);
  const refusals = new RefusalLog({ path: data.policyRefusals, log });
  const guard = new PolicyGuard({
    policy,
    now: () => new Date(clock.wallMs()),
    onRefusal: (refusal) => refusals.note(refusal),
  });
  const { ownKeys, segmentKeys, opener, secrets } = await openKeys(options, identity, {
    data,
    guard,
    monotonicMs,
  });
  const winrmPolicy: WinrmPolicy = {
    allowUnverified: () =>
      options.allowUnverifiedWinrm === true ||
      policy.rules.insecure_transports?.includes('winrm_unverified') === true,
    ticketCaches: () => policy.rules.ticket_caches ?? [],
  };
  const tester = new TargetTester({
    opener,
    winrmPolicy,
    policy: guard,
    log,
  });
  const contents = new ContentLink();
  const { minFreeBytes, measureFree } = options;
  const disk = new Disk({ journal, spoolFolder: data.spool, log, minFreeBytes, measureFree });
  await disk.measure();
  const stores = {
    cache: await FileCache.open(data.files, options.fileCacheBytes ?? defaultFileCacheBytes),
    staged: await StagedArtifacts.open(data.artifacts),
  };
  const executor = new Executor({
    installationId,
    get slots() {
      return slots();
    },
    ...(options.stepsAheadMs === undefined ? {} : { stepsAheadMs: options.stepsAheadMs }),
    spoolFolder: data.spool,
    spareSpool: data.spareSpool,
    journal,
    disk,
    deadline,
    stepTypes:
      options.stepTypes ??
      standardStepTypes({ pool: pools.ssh, policy }, stores, {
        ...winrmPolicy,
        pool: pools.winrm,
      }),
    openCredential:
      options.openCredential ?? ((lease) => opener.open(lease.credential, lease.target, lease.runAs)),
    secrets: options.secrets ?? secrets,
    contents,
    onHostKeyRefused: (lease, session) => {
      void tester.reportHostKey(lease, (message) => session.send(message));
    },
    onLoginRefused: (lease) => opener.refused(lease),
    policy: guard,
    grants: new GrantGuard({
      identity,
      get rule() {
        return policy.rules.require_grant;
      },
      policy: guard,
      journal,
      now: () => new Date(clock.wallMs()),
    }),
    onPathRefused: ({ runId, step, epoch, stepType, target }, { message = '' }) => {
      const { name, host, port } = target;
      const attempt = { runId, step, epoch, stepType };
      refusals.note({ rule: 'file_roots', message, target: { name, host, port }, attempt });
    },
    monotonicMs,
    log,
  });
  disk.makeRoom = () => executor.makeRoom();
  const holder = new SessionHolder({
    identity,
    ownKeys,
    generationPath: data.generation,
    get slots() {
      return slots();
    },
    busyLimits: options.busyLimits ?? {},
    journal,
    disk,
    deadline,
    executor,
    segmentKeys,
    get signedRuns() {
      return policy.rules.require_grant;
    },
    auditCheckpoint: await AuditCheckpoint.open({ path: data.auditCheckpoint, identity, log }),
    tester,
    scanner: new HostScanner({ policy: guard, opener, pool: pools.ssh, log }),
    contents,
    cleaner: new AttemptCleaner({
      installationId,
      pool: pools.ssh,
      open: (credential, target) => opener.open(credential, target),
      policy: guard,
      stopOwn: (attempt) => executor.stopOwn(attempt),
      log,
    }),
    log,
  });
  return { executor, holder, refusals };
}

/** Opens what the agent has keys for: its own keys and its segment's, and with these credentials and secret values. */
async function openKeys(
  { environment = {}, log }: Pick<AgentOptions, 'environment' | 'log'>,
  identity: Identity,
  { data, guard, monotonicMs }: { data: DataDirectory; guard: PolicyGuard; monotonicMs: () => number },
): Promise<{ ownKeys: OwnKeys; segmentKeys: SegmentKeys; opener: CredentialOpener; secrets: RunSecrets }> {
  const { installationId, segmentId } = identity;
  const ownKeys = await OwnKeys.open({ data, identity, log });
  const segmentKeys = await SegmentKeys.open({
    data,
    identity,
    log,
    onRoster: (roster) => ownKeys.named(rosterMember(roster, identity.agentId)),
  });
  const opener = new CredentialOpener({
    installationId,
    segmentId,
    monotonicMs,
    segmentPrivateKey: (generation) => segmentKeys.privateKey(generation),
    policy: guard,
    sources: new SourceReader({ policy: guard, monotonicMs, environment }),
  });
  const secrets = new RunSecrets({
    installationId,
    segmentId,
    monotonicMs,
    segmentPrivateKey: (generation) => segmentKeys.privateKey(generation),
    newestKey: () => segmentKeys.newest(),
  });
  return { ownKeys, segmentKeys, opener, secrets };
}

function connect(
  options: AgentOptions,
  identity: Identity,
  { executor, holder }: { executor: Executor; holder: SessionHolder },
  { serverRefusal }: DataDirectory,
): Connection {
  const { server, ca } = identity;
  const backoff = new Backoff(options.random);
  const refusal = new ServerRefusalFile(serverRefusal);
  holder.onResumed = () => {
    backoff.succeeded();
    void refusal.forget();
  };
  holder.onOtherKey = () => backoff.tryAnotherKey();
  holder.onReconnectWithin = (ms) => backoff.spreadOver(ms);
  return new Connection({
    server,
    proxy: options.proxy,
    open: socketOpener({ server, ca, proxy: options.proxy ?? withoutProxy }),
    hold: (socket) => holder.hold(socket),
    onEnd: (end) => {
      if (refusalOf(end)?.by === 'server') executor.refused();
      return refusal.ended(end, new Date());
    },
    backoff,
    wait: options.wait ?? waitMs,
    log: options.log,
  });
}

async function drain(executor: Executor, graceMs: number | undefined): Promise<void> {
  executor.drain();
  const idle = executor.idle();
  if (graceMs === undefined) return idle;
  const grace = new AbortController();
  await Promise.race([idle, waitMs(graceMs, grace.signal)]);
  grace.abort();
}

function waitMs(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}
