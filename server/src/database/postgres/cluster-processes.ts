// Finds the processes that use a cluster. A postmaster that was killed leaves backends behind, which keep running and
// committing. On Linux the inode of their working folder identifies them, so that a copy of the folder, or the same
// path in a container, is never mistaken for it. If that can't be read, the process title (it contains the cluster's
// name) or the -D argument decides.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import type { Stats } from 'node:fs';
import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { EmbeddedPostgresError, isErrno } from '../embedded-postgres-error.ts';

const run = promisify(execFile);

const pollMs = 20;
const quitGraceMs = 5_000;
const killGraceMs = 10_000;

export interface Cluster {
  directory: string;
  /** Marks its processes in the process list. It depends on the path, so that a copy has a different one. */
  name: string;
}

export function clusterAt(directory: string): Cluster {
  const digest = createHash('sha256').update(directory).digest('hex');
  return { directory, name: `opsconductor-${digest.slice(0, 12)}` };
}

export async function listClusterProcesses(cluster: Cluster): Promise<number[]> {
  return process.platform === 'linux' ? listFromProc(cluster) : listFromPs(cluster);
}

async function listFromProc(cluster: Cluster): Promise<number[]> {
  const own = await stat(cluster.directory);
  const processes = await postgresProcesses();
  const used = await Promise.all(
    processes.map(async ({ pid, command }) => {
      // Root is refused this in a container without SYS_PTRACE.
      const folder = await stat(`/proc/${pid}/cwd`).catch(() => undefined);
      return folder === undefined ? namesCluster(command, cluster) : isSameFolder(folder, own);
    }),
  );
  return processes.filter((_, index) => used[index]).map(({ pid }) => pid);
}

async function postgresProcesses(): Promise<{ pid: number; command: string }[]> {
  const pids = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry));
  const found = await Promise.all(
    pids.map(async (pid) => {
      const command = await readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '');
      return isPostgres(command) ? [{ pid: Number(pid), command: command.replaceAll('\0', ' ') }] : [];
    }),
  );
  return found.flat();
}

/**
 * A postmaster whose folder was moved away while it ran, and that has this one at its path now. It writes pg_control by
 * that path: at its next checkpoint, or when it is stopped, this cluster would have the other one's.
 */
export async function findPostmasterOfMovedFolder(
  cluster: Cluster,
): Promise<{ pid: number; folder: string } | undefined> {
  if (process.platform !== 'linux') return undefined;
  const own = await stat(cluster.directory);
  for (const { pid, command } of await postgresProcesses()) {
    if (!command.includes(` -D ${cluster.directory} `)) continue;
    const folder = await stat(`/proc/${pid}/cwd`).catch(() => undefined);
    // Where the path leads in a container, which has files of its own.
    const named = await stat(`/proc/${pid}/root${cluster.directory}`).catch(() => undefined);
    if (!folder || !named || isSameFolder(folder, own) || !isSameFolder(named, own)) continue;
    return { pid, folder: await readlink(`/proc/${pid}/cwd`).catch(() => 'a folder that was moved') };
  }
  return undefined;
}

function isSameFolder(one: Stats, other: Stats): boolean {
  return one.dev === other.dev && one.ino === other.ino;
}

async function listFromPs(cluster: Cluster): Promise<number[]> {
  const { stdout } = await run('ps', ['-axww', '-o', 'pid=,command='], { maxBuffer: 64 * 1024 * 1024 });
  return stdout.split('\n').flatMap((line) => {
    const [, pid, command] = /^\s*(\d+)\s+(.*)$/.exec(line) ?? [];
    if (pid === undefined || command === undefined) return [];
    return isPostgres(command.replace(' ', '\0')) && namesCluster(command, cluster) ? [Number(pid)] : [];
  });
}

function isPostgres(command: string): boolean {
  return command.startsWith('postgres: ') || basename(command.split('\0', 1)[0] ?? '') === 'postgres';
}

function namesCluster(command: string, cluster: Cluster): boolean {
  return command.startsWith(`postgres: ${cluster.name}: `) || command.includes(` -D ${cluster.directory} `);
}

/** Whether a process id is in use, even if only by a zombie. */
export function processExists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return isErrno(error, 'EPERM');
  }
}

/** Whether a process is running. A zombie isn't: nobody may be there to reap a postmaster that we only adopted. */
export async function isRunning(pid: number): Promise<boolean> {
  if (process.platform !== 'linux' || !processExists(pid)) return processExists(pid);
  const status = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '');
  return status !== '' && status.charAt(status.lastIndexOf(')') + 2) !== 'Z';
}

/** Resolves to true when none of them is running any more, or to false when the time is up. */
export async function waitUntilGone(pids: number[], timeoutMs: number): Promise<boolean> {
  for (const deadline = performance.now() + timeoutMs; ; await delay(pollMs)) {
    const running = await Promise.all(pids.map(isRunning));
    if (!running.includes(true)) return true;
    if (performance.now() > deadline) return false;
  }
}

/** Sends a signal to a process, which may have ended already. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw error;
  }
}

/** Ends what a dead postmaster left behind, so that nothing commits beside the next one. */
export async function endOrphans(cluster: Cluster, log: (message: string) => void): Promise<void> {
  const orphans = await listClusterProcesses(cluster);
  if (orphans.length === 0) return;
  log(`Ending ${orphans.length} PostgreSQL processes that outlived their postmaster: ${orphans.join(', ')}`);
  for (const pid of orphans) signal(pid, 'SIGQUIT');
  if (await waitUntilGone(orphans, quitGraceMs)) return;
  const stubborn = await listClusterProcesses(cluster);
  for (const pid of stubborn) signal(pid, 'SIGKILL');
  if (await waitUntilGone(stubborn, killGraceMs)) return;
  throw new EmbeddedPostgresError(
    `PostgreSQL processes of an earlier start use ${cluster.directory} and can't be ended: ${stubborn.join(', ')}`,
  );
}
