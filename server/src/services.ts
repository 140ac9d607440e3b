// Wires the server's parts together.
import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { CheckpointFeed } from './audit/checkpoints/checkpoint-feed.ts';
import { CheckpointFile } from './audit/checkpoints/checkpoint-file.ts';
import { refusalRecorder } from './audit/record-refusal.ts';
import { AuditSealer } from './audit/sealing/sealer.ts';
import { Authenticator } from './auth/authenticator.ts';
import { defaultIdentitySettings, type IdentitySettings } from './auth/identity-deps.ts';
import type { Installation } from './auth/installation/open-installation.ts';
import { rateLimitKeyOf } from './auth/limits/rate-limiter.ts';
import { SignInLimits } from './auth/limits/sign-in-limits.ts';
import { AgentContents } from './files/agent-contents.ts';
import type { HandshakeSettings } from './gateway/connections/handshake.ts';
import { Gateway } from './gateway/gateway.ts';
import { allRoutes } from './http/all-routes.ts';
import { createApp } from './http/app.ts';
import { type Access, isKnownHost } from './http/client.ts';
import { presentedToken } from './http/presented-token.ts';
import { RequestLimits } from './http/request-limits.ts';
import type { RouteSpec } from './http/route.ts';
import type { Console } from './http/routes/console.ts';
import { sessionCookie } from './http/session-cookie.ts';
import { JobImports } from './jobs/bundles/job-imports.ts';
import type { Asker } from './listener/listener.ts';
import type { Log } from './log.ts';
import { ServerMetrics } from './metrics/server-metrics.ts';
import { peerAddress } from './peer-address.ts';
import { CleanUpRequests } from './runs/ends/clean-up-requests.ts';
import { Housekeeper } from './runs/ends/housekeeper.ts';
import { Sweeper } from './runs/ends/sweeper.ts';
import { LeaseBuilder } from './runs/leases/lease-builder.ts';
import { LiveHub } from './runs/live/live-hub.ts';
import { OutputWriter } from './runs/output/output-writer.ts';
import { RunKeys } from './runs/run-keys.ts';
import { TransferTaker } from './runs/transfers/transfer-taker.ts';
import { HandedOnValues } from './runs/values/handed-on.ts';
import { takeNewKeys } from './segments/agent-keys/take-new-keys.ts';
import { takeKeyGeneration } from './segments/segment-keys/take-key-generation.ts';
import { SiteRuleChecker } from './site-rules/checker.ts';
import { connectBinary, type Sql } from './store/database/connection.ts';
import { databaseProblems } from './store/database/database-problems.ts';
import type { BinaryConnection } from './store/database/driver/binary-connection.ts';
import type { Migration } from './store/database/migrate.ts';
import { tellForgotten } from './store/database/notifications.ts';
import { ContactNotes } from './targets/contact-notes.ts';

export interface ServiceOptions {
  sql: Sql;
  /** Made by `connectQueue`: for agents, and for starting runs. */
  queue: Sql;
  /** The migrations of this build. The server is not ready until all are applied. */
  migrations: readonly Migration[];
  installation: Installation;
  log: Log;
  access: Access;
  /** Where agents and browsers reach this installation. */
  publicUrl: string;
  /** The pin for agents that enroll now; it changes with the certificate. */
  caPin(): string | undefined;
  caPem: string | undefined;
  console: Console;
  /** Path of the bundled agent. */
  agentBundle(): Promise<string>;
  agentSha256(): Promise<string>;
  now?: () => Date;
  /** How long sessions and API tokens may last; the product's own settings by default. */
  identity?: IdentitySettings;
  handshakeSettings?: HandshakeSettings;
  audit?: { checkpointFile: string | undefined; retentionDays: number | undefined };
  /** How long output and runs are kept; forever by default. */
  retention?: {
    outputDays: number | undefined;
    runDays: number | undefined;
    fileDays?: number | undefined;
  };
  /** How many bytes files and artifacts may take together; 50 GiB by default. */
  maxStoredBytes?: number;
  /**
   * Whether output is also masked by the form of secrets, for jobs that don't set this themselves; false by default.
   */
  detectsSecrets?: boolean;
  /** Where this server counts its work. */
  metrics?: ServerMetrics;
  /** Whether replies that differ from their schema are errors; for tests. */
  checkReplies?: boolean;
}

export interface Services {
  app: ReturnType<typeof createApp>;
  /** Who is asking, as far as this is known without a query. */
  askerOf(request: IncomingMessage): Asker;
  routes: readonly RouteSpec[];
  gateway: Gateway;
  sweeper: Sweeper;
  housekeeper: Housekeeper;
  sealer: AuditSealer;
  siteRuleChecker: SiteRuleChecker;
  hub: LiveHub;
  keys: RunKeys;
  /** A connection for output only; open it before there is any output. */
  appends: BinaryConnection;
  /** From now on the server reports that it is not ready, so that a load balancer stops sending requests here. */
  drain(): void;
  /** Ends live streams, then agents' connections. The given pools stay open: requests are still answered. */
  stop(): Promise<void>;
}

/** The default of `maxStoredBytes`. */
const defaultStoredBytes = 50 * 1024 ** 3;

/** Builds everything. Nothing listens or sweeps yet. */
export function createServices(options: ServiceOptions): Services {
  const { sql, queue, installation, log } = options;
  const now = options.now ?? (() => new Date());
  const { masterKey, installationId } = installation;
  const detectsSecrets = options.detectsSecrets ?? false;
  const serverId = randomUUID();
  const stopping = new AbortController();
  // Every live stream adds a listener.
  setMaxListeners(0, stopping.signal);
  let isDraining = false;
  const whatIsMissing = missingTeller(options);
  const hub = new LiveHub();
  const keys = new RunKeys(masterKey);
  const maxStoredBytes = options.maxStoredBytes ?? defaultStoredBytes;
  const appends = connectBinary(queue, {
    onNotDialled: (error) =>
      log.warn(
        { err: error },
        'no separate database connection for output could be opened; the connections of the queue store it',
      ),
  });
  const metrics = options.metrics ?? new ServerMetrics();
  const onStored = (bytes: number) => metrics.countOutput(bytes);
  const writer = new OutputWriter({ sql: queue, appends, keys, hub, onStored });
  const contacts = new ContactNotes({ sql: queue, log });
  const builder = new LeaseBuilder({ sql: queue, masterKey, detectsSecrets });
  const settings = options.identity ?? defaultIdentitySettings;
  const authenticator = authenticatorOf({ sql, now, log }, settings);
  const gateway = new Gateway({
    sql: queue,
    contacts,
    identity: {
      installationId,
      serverId,
      serverKey: installation.serverKey.publicKey,
      serverPrivateKey: installation.serverKey.privateKey,
    },
    builder,
    cleanUps: new CleanUpRequests({ sql: queue, builder, log }),
    handedOn: new HandedOnValues({ sql: queue, masterKey, keys }),
    transfers: new TransferTaker({ sql: queue, keys, log }),
    contents: new AgentContents({ sql, masterKey, keys, maxStoredBytes, log }),
    writer,
    keys,
    hub,
    log,
    onEnded: (ended) => metrics.countEnded(ended),
    checkpoints: new CheckpointFeed({ sql, installation, log }),
    takeKeyGeneration: (agentId, offer) =>
      takeKeyGeneration({ sql, masterKey, installationId }, agentId, offer),
    takeNewKeys: (agentId, offer) => takeNewKeys({ sql, masterKey, installationId }, agentId, offer),
    behindTlsProxy: options.access.behindTlsProxy,
    onForget: (notice) => (notice === undefined ? authenticator.forgetAll() : authenticator.heard(notice)),
    isAllowedHost: (host) => host !== undefined && isKnownHost(host, options.access),
    ...(options.handshakeSettings === undefined ? {} : { settings: options.handshakeSettings }),
  });
  metrics.showConnectedAgents(() => gateway.connectedAgents());
  const sweeper = new Sweeper({
    sql,
    serverId,
    log,
    publish: (news) => gateway.publish(news),
  });
  const housekeeper = new Housekeeper({ sql, log, retention: options.retention });
  const sealer = auditSealer(options);
  const siteRuleChecker = new SiteRuleChecker({ sql, masterKey, log });
  const cookie = sessionCookie({ installationId, https: options.access.https });
  const imports = new JobImports({ sql, masterKey, log });
  const routes = allRoutes({
    queue,
    installation,
    people: {
      sql,
      now,
      authenticator,
      signInLimits: new SignInLimits(now),
      settings,
      publicUrl: options.publicUrl,
    },
    cookie,
    enrollment: options,
    events: {
      sql,
      hub,
      keys,
      stopping: stopping.signal,
      onForgotten: (listener) => authenticator.onForgotten(listener),
    },
    agents: gateway,
    publish: gateway.publish.bind(gateway),
    imports,
    metrics,
    maxStoredBytes,
    detectsSecrets,
  });
  const app = createApp({
    routes,
    log,
    access: options.access,
    cookieName: cookie.name,
    authenticator,
    limits: new RequestLimits(now),
    onAnswered: (answered) => metrics.countRequest(answered),
    onForbidden: refusalRecorder({ sql, now }),
    checkReplies: options.checkReplies ?? false,
    probes: {
      notReady: async () => (isDraining ? ['it is stopping'] : whatIsMissing()),
      isOutputRefused: () => writer.isFull,
      caPem: options.caPem,
      agentBundle: options.agentBundle,
    },
    console: options.console,
  });
  return {
    app,
    askerOf: askers(authenticator, cookie.name, options.access),
    routes,
    gateway,
    sweeper,
    housekeeper,
    sealer,
    siteRuleChecker,
    hub,
    keys,
    appends,
    drain() {
      isDraining = true;
    },
    async stop() {
      isDraining = true;
      stopping.abort();
      await imports.stop();
      await Promise.all([sweeper.stop(), housekeeper.stop()]);
      await siteRuleChecker.stop();
      await gateway.stop();
      await contacts.flush();
      await Promise.all([writer.close(), appends.end()]);
      await sealer.stop();
    },
  };
}

function authenticatorOf(
  { sql, now, log }: { sql: Sql; now: () => Date; log: Log },
  { session }: IdentitySettings,
): Authenticator {
  return new Authenticator({
    sql,
    now,
    sessionIdleMs: session.idleMs,
    sessionAbsoluteMs: session.absoluteMs,
    // If this fails, the other servers find out when their cached entries expire.
    tell: (notice) =>
      void tellForgotten(sql, notice).catch((error: unknown) =>
        log.warn(
          { err: error },
          'other servers could not be told whose rights have changed; they notice when their cached entries expire',
        ),
      ),
  });
}

/** Returns a function that says who is asking. */
function askers(
  authenticator: Authenticator,
  cookieName: string,
  { behindTlsProxy }: Pick<Access, 'behindTlsProxy'>,
): Services['askerOf'] {
  return (request) => {
    const presented = presentedToken(request.headers, cookieName);
    const userId = presented && authenticator.lastOwner(presented.via, presented.token);
    if (userId !== undefined)
      return { isKnown: true, name: String(userId), by: `${presented?.via} ${presented?.token}` };
    return { isKnown: false, name: rateLimitKeyOf(peerAddress(request, behindTlsProxy)) };
  };
}

function auditSealer({ sql, installation, log, audit }: ServiceOptions): AuditSealer {
  const file = audit?.checkpointFile;
  const kept = file === undefined ? undefined : new CheckpointFile(file, { sql, log });
  return new AuditSealer({
    sql,
    installation,
    log,
    retentionDays: audit?.retentionDays,
    ...(kept === undefined ? {} : { onRound: () => kept.append(), onOtherLog: () => kept.compareAgain() }),
  });
}

/** Load balancers ask every few seconds: what is missing is logged when it changes. */
function missingTeller({ sql, migrations, log }: ServiceOptions): () => Promise<string[]> {
  let told = '';
  return async () => {
    const problems = await databaseProblems(sql, migrations);
    const now = problems.join('\n');
    if (now !== told && problems.length > 0) log.warn({ problems }, 'not ready: /readyz answers 503');
    if (now !== told && problems.length === 0) log.info('ready again: /readyz answers 200');
    told = now;
    return problems;
  };
}
