// A running server (database, services, listener) and its orderly shutdown.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Server as HttpsServer } from 'node:https';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { bootstrapAdministrator } from './auth/installation/bootstrap-administrator.ts';
import { type Installation, openInstallation } from './auth/installation/open-installation.ts';
import { isLoopback } from './config/read-tls.ts';
import type { Config } from './config.ts';
import { ClockWatch } from './database/clock-watch.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from './database/embedded-postgres.ts';
import { LockWatch, type LockWatchDeps } from './database/lock-watch.ts';
import { refuseMoved } from './database/move/moved-mark.ts';
import type { HandshakeSettings } from './gateway/connections/handshake.ts';
import { appListener } from './http/app-listener.ts';
import { loadConsole } from './http/routes/console.ts';
import { prepareDefinitionChecks } from './jobs/checks/prepare-checks.ts';
import { Listener } from './listener/listener.ts';
import { tryPort } from './listener/take-port.ts';
import type { Log } from './log.ts';
import { MasterKeyWatch } from './master-keys/master-key-watch.ts';
import { ServerMetrics } from './metrics/server-metrics.ts';
import { tuneHeap } from './process/tune-heap.ts';
import { signRaisedRosters } from './segments/sign-raised-rosters.ts';
import { createServices, type Services } from './services.ts';
import { connect, connectQueue, type Sql } from './store/database/connection.ts';
import { isDatabaseLost } from './store/database/database-lost.ts';
import { losesCommits } from './store/database/database-problems.ts';
import { databaseRefusal } from './store/database/database-refusal.ts';
import {
  appliedWords,
  type Migration,
  migrate,
  newerSchemaWords,
  readMigrations,
} from './store/database/migrate.ts';
import { loadGivenTls } from './tls/given-tls.ts';
import { renewTls } from './tls/renew-tls.ts';
import { loadOrCreateServerTls } from './tls/server-tls.ts';

export interface RunningServer {
  /** Where people and agents reach it. */
  url: string;
  /** The URL for this machine, whatever --public-url says. */
  localUrl: string;
  port: number;
  /** Pin of the CA of the certificate at the start. */
  caPin: string | undefined;
  /** True on the first start of this installation. */
  isNew: boolean;
  sql: Sql;
  installation: Installation;
  services: Services;
  /** Resolves if the embedded database is gone and can't be restarted, which ends the server. */
  databaseLost: Promise<void>;
  stop(): Promise<void>;
}

export interface ServerPaths {
  migrations: string;
  console: string;
  agentBundle: string;
}

const poolConnections = 8;
/** In addition to those. */
const queueConnections = 8;
const tlsIntervalMs = 60_000;
/** How long to retry migrations; a busy machine takes a while to restart the database. */
const migrateWithinMs = 60_000;
const migrateAgainMs = 1_000;

/** What is to be closed when the server stops, the last one first. */
type Closers = (() => Promise<unknown>)[];

/** Whom the start tells how it goes; `say` prints progress for a person. */
interface Told {
  log: Log;
  say: (message: string) => void;
}

/**
 * Starts everything. The last argument is for tests only: timings, and whether the checks of job definitions are
 * compiled at their first use, because few tests check definitions.
 */
export async function startServer(
  config: Config,
  paths: ServerPaths,
  { log, say }: Told,
  {
    checksAtFirstUse = false,
    lockWatch,
    ...timings
  }: {
    handshakeSettings?: HandshakeSettings;
    checksAtFirstUse?: boolean;
    lockWatch?: Pick<LockWatchDeps, 'pauseMs' | 'leastMs'>;
  } = {},
): Promise<RunningServer> {
  tuneHeap();
  const closers: Closers = [];
  const stop = async () => {
    for (const close of closers.splice(0).reverse()) await close();
  };
  try {
    // Runs while the database starts, when this process is idle anyway.
    const prepared = checksAtFirstUse ? Promise.resolve() : prepareDefinitionChecks();
    closers.push(() => prepared);
    const { embedded, sql, queue, migrations } = await openDatabase(config, paths, say, closers);
    if (await losesCommits(sql)) {
      log.warn(
        'synchronous_commit is off in the database; set it to on for the role of the servers: if PostgreSQL crashes, it forgets what it has confirmed, so that steps begin twice and output is lost',
      );
    }
    const installation = await openInstallation(sql, config.masterKeyFile);
    await signRaisedRosters({ sql, log, ...installation });
    const isNew = await bootstrapAdministrator({
      sql,
      now: () => new Date(),
      bootstrapToken: config.bootstrapToken,
    });
    const metrics = new ServerMetrics();
    const tls = await openTls(config);
    // Before the routes are made, because they contain its port. It may have become busy since it was tried.
    const listener = await Listener.start({ ...config.listen, tls });
    closers.push(() => listener.close());
    const caPin = keepRenewed(config, { tls, listener, metrics, log }, closers);
    const scheme = tls === undefined ? 'http' : 'https';
    const localUrl = `${scheme}://${localHost(config.listen.address)}:${listener.port}`;
    const url = config.publicUrl ?? `${scheme}://${publicHost(config.listen.address)}:${listener.port}`;
    const services = createServices({
      sql,
      queue,
      migrations,
      installation,
      log,
      access: {
        hosts: [...config.hosts, ...(isLoopback(config.listen.address) ? [] : [hostname().toLowerCase()])],
        origins: [new URL(url).origin],
        https: tls !== undefined || config.behindTlsProxy,
        behindTlsProxy: config.behindTlsProxy,
      },
      publicUrl: url,
      identity: config.identity,
      caPin,
      caPem: tls?.caPem,
      console: await loadConsole(paths.console),
      agentBundle: async () => paths.agentBundle,
      agentSha256: async () =>
        createHash('sha256')
          .update(await readFile(paths.agentBundle))
          .digest('hex'),
      audit: config.audit,
      retention: config.retention,
      metrics,
      detectsSecrets: config.detectsSecrets,
      ...(config.maxStoredBytes === undefined ? {} : { maxStoredBytes: config.maxStoredBytes }),
      ...timings,
    });
    closers.push(() => services.stop());
    closers.push(async () => {
      services.drain();
      listener.drain();
      if (config.drainS > 0) await delay(config.drainS * 1_000);
    });
    const masterKeys = new MasterKeyWatch({
      sql,
      file: config.masterKeyFile,
      ring: installation.masterKey,
      log,
    });
    closers.push(() => masterKeys.stop());
    const clocks = new ClockWatch({ sql, log, now: () => new Date() });
    closers.push(() => clocks.stop());
    const connection = () => services.gateway.listeningConnection;
    const locks = new LockWatch({ connection, log, ...lockWatch });
    closers.push(() => locks.stop());
    void services.appends.open();
    await services.gateway.start(listener.server);
    await prepared;
    listener.open(appListener(services.app.fetch), services.askerOf);
    services.sweeper.start();
    services.housekeeper.start();
    services.sealer.start();
    services.siteRuleChecker.start();
    masterKeys.start();
    clocks.start();
    locks.start();
    return {
      url,
      localUrl,
      port: listener.port,
      caPin: tls?.caPin,
      isNew,
      sql,
      installation,
      services,
      databaseLost: lostWithout(embedded),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Starts or reaches the database, and brings its schema up to this build. */
async function openDatabase(
  config: Config,
  paths: ServerPaths,
  say: (message: string) => void,
  closers: Closers,
): Promise<{
  embedded: EmbeddedPostgres | undefined;
  sql: Sql;
  queue: Sql;
  migrations: readonly Migration[];
}> {
  const embedded = await startEmbedded(config, say);
  if (embedded !== undefined) closers.push(() => embedded.stop());
  const sql = connect(config.databaseUrl ?? embedded?.url ?? '', { max: poolConnections });
  const queue = connectQueue(sql, { max: queueConnections });
  closers.push(() => Promise.all([sql, queue].map((pool) => pool.end({ timeout: 2 }))));
  const migrations = await readMigrations(paths.migrations);
  const applied = await migrateWhenThere(sql, migrations, embedded).catch((error: unknown) => {
    throw databaseRefusal(error, config.databaseUrl);
  });
  if (applied.length > 0) say(appliedWords(applied));
  const newerSchema = await newerSchemaWords(sql, migrations);
  if (newerSchema !== undefined) say(newerSchema);
  return { embedded, sql, queue, migrations };
}

/** Returns nothing if the database is an external one. */
async function startEmbedded(
  config: Config,
  say: (message: string) => void,
): Promise<EmbeddedPostgres | undefined> {
  // A first start would otherwise make a whole database before it finds out.
  const mayStart = () => tryPort(config.listen);
  if (config.databaseUrl === undefined) {
    const dataDir = join(config.dataDir, 'postgres');
    await refuseMoved(dataDir);
    return startEmbeddedPostgres({ dataDir, log: say, mayStart });
  }
  await mayStart();
  return undefined;
}

/** The embedded database is restarted if it crashes; a migration that this interrupted is run again. */
async function migrateWhenThere(
  sql: Sql,
  migrations: readonly Migration[],
  embedded: EmbeddedPostgres | undefined,
): Promise<string[]> {
  const deadline = performance.now() + migrateWithinMs;
  for (;;) {
    try {
      return await migrate(sql, migrations);
    } catch (error) {
      if (embedded === undefined || !isDatabaseLost(error) || performance.now() > deadline) throw error;
      const exit = await Promise.race([delay(migrateAgainMs), embedded.exited]);
      if (exit !== undefined) throw error;
    }
  }
}

function lostWithout(embedded: EmbeddedPostgres | undefined): Promise<void> {
  if (embedded === undefined) return new Promise(() => {});
  return embedded.exited.then((exit) => (exit.expected ? new Promise<void>(() => {}) : undefined));
}

interface Tls {
  certPem: string;
  keyPem: string;
  caPem: string | undefined;
  caPin: string;
}

async function openTls(config: Config): Promise<Tls | undefined> {
  if (config.tls.mode === 'off') return undefined;
  if (config.tls.mode === 'files') {
    const given = await loadGivenTls(config.tls);
    return { ...given, caPem: undefined };
  }
  const names = [...config.hosts, hostname().toLowerCase()];
  if (config.listen.address !== '0.0.0.0' && config.listen.address !== '::')
    names.push(config.listen.address);
  return loadOrCreateServerTls({ directory: join(config.dataDir, 'tls'), hostNames: [...new Set(names)] });
}

/** Puts each new certificate into use. Returns a function that returns the pin of its CA, undefined without TLS. */
function keepRenewed(
  config: Config,
  {
    tls,
    listener,
    metrics,
    log,
  }: { tls: Tls | undefined; listener: Listener; metrics: ServerMetrics; log: Log },
  closers: Closers,
): () => string | undefined {
  let caPin = tls?.caPin;
  if (tls !== undefined) {
    const stop = renewTls({
      server: listener.server as unknown as HttpsServer,
      current: tls,
      load: () => openTls(config),
      log,
      intervalMs: tlsIntervalMs,
      publicHost: config.publicUrl === undefined ? undefined : new URL(config.publicUrl).hostname,
      onReplaced: (pin) => {
        caPin = pin;
      },
      onExpiry: (validTo) => metrics.setCertificateExpiry(validTo),
    });
    closers.push(stop);
  }
  return () => caPin;
}

function localHost(address: string): string {
  if (address === '0.0.0.0') return '127.0.0.1';
  if (address === '::') return '[::1]';
  return address.includes(':') ? `[${address}]` : address;
}

function publicHost(address: string): string {
  if (address === '0.0.0.0' || address === '::') return hostname().toLowerCase();
  return localHost(address);
}
