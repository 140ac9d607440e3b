// One postmaster: starting it, adopting one that outlived its server process, and stopping it.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { endsAtOnce } from '../../process/ends-at-once.ts';
import { EmbeddedPostgresError, isErrno } from '../embedded-postgres-error.ts';
import {
  type Cluster,
  endOrphans,
  isRunning,
  listClusterProcesses,
  processExists,
  signal,
  waitUntilGone,
} from './cluster-processes.ts';
import type { Account } from './postgres-account.ts';
import { type PostgresBinaries, postgresEnvironment } from './postgres-binaries.ts';
import type { PostgresLog } from './postgres-log.ts';
import { fixedSettings } from './postgres-settings.ts';

const readyPollMs = 10;
const adoptedPollMs = 250;
const progressEveryMs = 10_000;
const fastStopMs = 60_000;
const immediateStopMs = 10_000;

export interface Postmaster {
  pid: number;
  port: number;
  /** Resolves when it is no longer running, with the way it ended. */
  ended: Promise<string>;
}

export interface PostmasterContext {
  cluster: Cluster;
  home: string;
  binaries: PostgresBinaries;
  account: Account | undefined;
  postgresLog: PostgresLog;
  log: (message: string) => void;
}

/** Another process listens on the port: try again with another one. */
export class PortTakenError extends EmbeddedPostgresError {}

export async function pickFreePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const address = probe.address();
  probe.close();
  await once(probe, 'close');
  if (address === null || typeof address === 'string') throw new Error('a TCP listener has no port');
  return address.port;
}

/**
 * Starts postgres. Resolves when it accepts connections, which after a crash includes recovery, however long that
 * takes.
 */
export async function startPostmaster(context: PostmasterContext, port: number): Promise<Postmaster> {
  const { cluster, home, binaries, account, postgresLog } = context;
  await endOrphans(cluster, context.log);
  await removeUnusablePostmasterFile(cluster);
  const logSize = await postgresLog.size();
  const output = await postgresLog.open();
  let child: ChildProcess;
  let ended: Promise<string>;
  try {
    const settings = { config_file: join(home, 'postgresql.conf'), ...fixedSettings(port, cluster.name) };
    const assignments = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    child = spawn(binaries.postgres, ['-D', cluster.directory, ...assignments], {
      ...account,
      cwd: home,
      env: postgresEnvironment,
      // Ctrl-C in a terminal must reach only the server, which then stops the database last.
      detached: true,
      stdio: ['ignore', output.fd, output.fd],
    });
    ended = watchChild(child);
    endWithServer(child.pid, ended);
    await once(child, 'spawn');
  } finally {
    await output.close();
  }
  const pid = child.pid;
  if (pid === undefined) throw new Error('a spawned process has no id');
  await untilReady(context, pid, ended, logSize);
  return { pid, port, ended };
}

/** An immediate shutdown loses nothing that was committed; the next start recovers. */
function endWithServer(pid: number | undefined, ended: Promise<string>): void {
  if (pid === undefined) return;
  const forget = endsAtOnce(() => signal(pid, 'SIGQUIT'));
  void ended.then(forget);
}

/** Call it in the same turn as the spawn, or the end of a process that fails at once would be missed. */
function watchChild(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('exit', (code, name) => resolve(name === null ? `exit code ${code}` : `signal ${name}`));
  });
}

async function untilReady(
  context: PostmasterContext,
  pid: number,
  ended: Promise<string>,
  logSize: number,
): Promise<void> {
  const progress = setInterval(
    () => context.log('PostgreSQL is still starting (after a crash it replays its write-ahead log)'),
    progressEveryMs,
  );
  try {
    for (;;) {
      const how = await Promise.race([ended, delay(readyPollMs)]);
      if (how !== undefined) throw await startFailure(context, how, logSize);
      const file = await readPostmasterFile(context.cluster);
      if (file?.pid === pid && file.status === 'ready') return;
    }
  } finally {
    clearInterval(progress);
  }
}

async function startFailure(context: PostmasterContext, how: string, logSize: number): Promise<Error> {
  const tail = await context.postgresLog.tail(logSize);
  if (tail.includes('could not bind') || tail.includes('could not create any TCP/IP sockets')) {
    return new PortTakenError(`PostgreSQL's port was taken by another process: ${tail}`);
  }
  return new EmbeddedPostgresError(
    `PostgreSQL did not start (${how}). The end of ${context.postgresLog.path}:\n${tail}`,
  );
}

/** Returns the postmaster that an earlier server process left running on this cluster, once it accepts connections. */
export async function adoptPostmaster(
  cluster: Cluster,
  log: (message: string) => void,
): Promise<Postmaster | undefined> {
  for (let waiting = false; ; waiting = true) {
    const file = await readPostmasterFile(cluster);
    if (file === undefined || !(await listClusterProcesses(cluster)).includes(file.pid)) return undefined;
    if (!waiting && file.status !== 'ready') {
      log(`PostgreSQL was left running (process id ${file.pid}) and is ${file.status}: waiting for it`);
    }
    if (file.status === 'starting') {
      await delay(readyPollMs);
      continue;
    }
    const found = { pid: file.pid, port: file.port, ended: watchForeignProcess(file.pid) };
    endWithServer(found.pid, found.ended);
    if (file.status === 'ready') return found;
    await stopPostmaster(found, cluster, log);
  }
}

/** It is not our child, so we are not notified when it ends. */
async function watchForeignProcess(pid: number): Promise<string> {
  while (await isRunning(pid)) await delay(adoptedPollMs);
  return 'unknown, it was not our child';
}

/** Tries a fast shutdown, then an immediate one, then SIGKILL for everything that is left. */
export async function stopPostmaster(
  postmaster: Postmaster,
  cluster: Cluster,
  log: (message: string) => void,
): Promise<void> {
  signal(postmaster.pid, 'SIGINT');
  if (await endsWithin(postmaster, fastStopMs)) return;
  log(`PostgreSQL did not stop within ${fastStopMs / 1000} s: stopping it at once, the next start recovers`);
  signal(postmaster.pid, 'SIGQUIT');
  if (await endsWithin(postmaster, immediateStopMs)) return;
  log('PostgreSQL does not react: killing it');
  const pids = await listClusterProcesses(cluster);
  for (const pid of pids) signal(pid, 'SIGKILL');
  await waitUntilGone(pids, immediateStopMs);
}

async function endsWithin(postmaster: Postmaster, timeoutMs: number): Promise<boolean> {
  const aborter = new AbortController();
  const timeout = delay(timeoutMs, false, { signal: aborter.signal }).catch(() => false);
  const ended = await Promise.race([postmaster.ended.then(() => true), timeout]);
  aborter.abort();
  return ended;
}

interface PostmasterFile {
  pid: number;
  port: number;
  status: string;
}

/** postmaster.pid: process id, data directory, start time, port, socket folder, address, memory key, status. */
async function readPostmasterFile(cluster: Cluster): Promise<PostmasterFile | undefined> {
  const content = await readFile(postmasterFile(cluster), 'latin1').catch((error) => {
    if (isErrno(error, 'ENOENT')) return '';
    throw error;
  });
  const lines = content.split('\n').map((line) => line.trim());
  const pid = Number(lines[0]);
  if (!(pid > 0)) return undefined;
  return { pid, port: Number(lines[3]), status: lines[7] ?? '' };
}

/**
 * Call it only when no process uses the cluster. postgres itself removes a file that names a dead process, after
 * checking its shared memory, which is worth keeping. But it gives up on an empty file, on a process id that is in use
 * again, and on a zombie.
 */
async function removeUnusablePostmasterFile(cluster: Cluster): Promise<void> {
  const file = await readPostmasterFile(cluster);
  if (file === undefined || processExists(file.pid)) await rm(postmasterFile(cluster), { force: true });
}

function postmasterFile(cluster: Cluster): string {
  return join(cluster.directory, 'postmaster.pid');
}
