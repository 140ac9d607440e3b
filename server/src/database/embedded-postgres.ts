import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type ClusterPasswords, loadPasswords, markInitialized } from './cluster-passwords.ts';
import { type DatabaseHome, findDatabaseHome, makeDataDirectory, systemFolder } from './database-home.ts';
import { writeFileDurably } from './durable-file.ts';
import { EmbeddedPostgresError, isErrno } from './embedded-postgres-error.ts';
import { type Cluster, clusterAt, findPostmasterOfMovedFolder } from './postgres/cluster-processes.ts';
import { initializeCluster } from './postgres/initialize-cluster.ts';
import { findBinaryPackage, type PostgresBinaries, prepareBinaries } from './postgres/postgres-binaries.ts';
import { PostgresLog } from './postgres/postgres-log.ts';
import { settingsFile, tuningTemplate } from './postgres/postgres-settings.ts';
import {
  type PostgresExit,
  PostgresSupervisor,
  type SupervisorParts,
} from './postgres/postgres-supervisor.ts';
import {
  adoptPostmaster,
  PortTakenError,
  type Postmaster,
  type PostmasterContext,
  pickFreePort,
  startPostmaster,
  stopPostmaster,
} from './postgres/postmaster.ts';
import { ensureServerDatabase, serverUrl } from './server-database.ts';
import { takeServerLock } from './server-lock.ts';

const maxPorts = 5;

export interface EmbeddedPostgresOptions {
  /** Created if missing. It holds the secrets, and also the database unless the database's account can't get there. */
  dataDir: string;
  /** Is told what is being done, in words for a person. */
  log: (message: string) => void;
  /** PostgreSQL settings on top of the defaults. */
  settings?: Record<string, string>;
  pickPort?: () => Promise<number>;
  /** Called once the folder is ours, before anything is started. If it rejects, nothing is. */
  mayStart?: () => Promise<void>;
  /** Where root puts what an unprivileged account must reach. */
  systemFolder?: string;
  packageFolder?: string;
  /** Dependencies of the supervisor; tests replace them. */
  supervisorParts?: Partial<SupervisorParts>;
}

export interface EmbeddedPostgres {
  /**
   * URL for the server's own role, which owns the database and is no superuser. It stays the same when we restart
   * PostgreSQL.
   */
  readonly url: string;
  /** Whether a postmaster was found running, left by a server process that was killed. */
  readonly adopted: boolean;
  readonly pid: number;
  /** Resolves when the database is permanently gone: after stop(), or after failing restarts (`expected` is false). */
  readonly exited: Promise<PostgresExit>;
  /** Fast shutdown; open connections are cut. Close pools first. */
  stop(): Promise<void>;
}

/**
 * Starts the embedded PostgreSQL on a data directory, or adopts the one that is running there, and keeps it running.
 *
 * @throws {EmbeddedPostgresError} with a message for the operator.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
  const { log } = options;
  const packageFolder = options.packageFolder ?? findBinaryPackage();
  const dataDirectory = await makeDataDirectory(options.dataDir);
  const locks = [await takeServerLock(dataDirectory, log)];
  const unlock = async () => {
    for (const lock of locks) await lock.release();
  };
  try {
    await options.mayStart?.();
    const place = await findDatabaseHome(dataDirectory, { systemFolder, ...options });
    // A copied data directory points to the same home.
    if (place.home !== dataDirectory) locks.push(await takeServerLock(place.home, log));
    return await openAndSupervise(place, packageFolder, options, unlock);
  } catch (error) {
    await unlock();
    throw error;
  }
}

async function openAndSupervise(
  place: DatabaseHome,
  packageFolder: string,
  options: EmbeddedPostgresOptions,
  unlock: () => Promise<void>,
): Promise<EmbeddedPostgres> {
  const { log, settings, pickPort = pickFreePort, supervisorParts } = options;
  const { account, home, cluster, binariesFolder } = place;
  const binaries = await prepareBinaries({ packageFolder, account, copyFolder: binariesFolder, log });
  const passwords = await openCluster(place, binaries, log);
  await refuseMovedFolder(clusterAt(cluster));
  await writeSettings(home, settings);
  const postgresLog = new PostgresLog(home);
  const context = { cluster: clusterAt(cluster), home, binaries, account, postgresLog, log };
  const { postmaster, adopted } = await adoptOrStart(context, passwords, pickPort);
  const supervisor = new PostgresSupervisor(context, postmaster, supervisorParts);
  const exited = supervisor.exited.finally(unlock);
  return {
    url: serverUrl(postmaster.port, passwords),
    adopted,
    get pid() {
      return supervisor.pid;
    },
    exited,
    async stop() {
      await supervisor.stop();
      await exited;
    },
  };
}

async function openCluster(
  place: DatabaseHome,
  binaries: PostgresBinaries,
  log: (message: string) => void,
): Promise<ClusterPasswords> {
  const major = await clusterMajor(place.cluster);
  if (major === '') {
    throw new EmbeddedPostgresError(
      `The database in ${place.cluster} is not complete: its PG_VERSION is empty, as a copy that broke off leaves it. Restore all of ${place.dataDirectory} again from the backup.`,
    );
  }
  if (major !== undefined && major !== String(binaries.major)) {
    throw new EmbeddedPostgresError(
      `The database in ${place.cluster} was made by PostgreSQL ${major}, and this server brings PostgreSQL ` +
        `${binaries.major}. Start the OpsConductor version that brings ${major}: data is not moved from one to the other by itself.`,
    );
  }
  const passwords = await loadPasswords(place.dataDirectory, major !== undefined);
  if (passwords.initialized) return passwords;
  if (major === undefined) {
    log(`Creating the database in ${place.cluster} (PostgreSQL ${binaries.version})`);
    await initializeCluster(place, binaries, passwords);
  }
  await markInitialized(place.dataDirectory, passwords);
  return passwords;
}

/** Nothing is ended here: what it has written into this folder already, nobody can tell. */
async function refuseMovedFolder(cluster: Cluster): Promise<void> {
  const moved = await findPostmasterOfMovedFolder(cluster);
  if (moved === undefined) return;
  throw new EmbeddedPostgresError(
    `A PostgreSQL (process id ${moved.pid}) that a killed server left behind still runs in ${moved.folder}, and would ` +
      `write into ${cluster.directory}, where that folder was. End it with “kill -QUIT ${moved.pid}”, then restore the ` +
      'database from the backup again: it may have written there already.',
  );
}

async function writeSettings(home: string, settings: Record<string, string> | undefined): Promise<void> {
  await writeFileDurably(join(home, 'postgresql.conf'), settingsFile(settings), 0o644);
  const tuning = join(home, 'tuning.conf');
  if ((await stat(tuning).catch(() => undefined)) === undefined) {
    await writeFileDurably(tuning, tuningTemplate, 0o644);
  }
}

async function clusterMajor(cluster: string): Promise<string | undefined> {
  try {
    return (await readFile(join(cluster, 'PG_VERSION'), 'utf8')).trim();
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

async function adoptOrStart(
  context: PostmasterContext,
  passwords: ClusterPasswords,
  pickPort: () => Promise<number>,
): Promise<{ postmaster: Postmaster; adopted: boolean }> {
  const { cluster, binaries, log } = context;
  const running = await adoptPostmaster(cluster, log);
  if (running !== undefined) {
    const state = await ensureServerDatabase(running.port, passwords).catch(
      (error) => `not usable (${error})`,
    );
    if (state === binaries.version) {
      log(
        `PostgreSQL ${state} was left running (process id ${running.pid}): using it on port ${running.port}`,
      );
      return { postmaster: running, adopted: true };
    }
    log(`The PostgreSQL that was left running is ${state}: replacing it with ${binaries.version}`);
    await stopPostmaster(running, cluster, log);
  }
  const postmaster = await startOnFreePort(context, pickPort);
  try {
    await ensureServerDatabase(postmaster.port, passwords);
  } catch (error) {
    await stopPostmaster(postmaster, cluster, log);
    throw error;
  }
  log(`PostgreSQL ${binaries.version} runs on port ${postmaster.port} (process id ${postmaster.pid})`);
  return { postmaster, adopted: false };
}

/** A port is picked at every start, because a remembered one would sooner or later be taken. */
async function startOnFreePort(
  context: PostmasterContext,
  pickPort: () => Promise<number>,
): Promise<Postmaster> {
  for (let tries = 1; ; tries++) {
    try {
      return await startPostmaster(context, await pickPort());
    } catch (error) {
      if (!(error instanceof PortTakenError) || tries === maxPorts) throw error;
      context.log('Another program has taken the port in the meantime: trying another port');
    }
  }
}
