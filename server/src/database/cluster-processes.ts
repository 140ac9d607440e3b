// Which processes use a cluster. A postmaster that was killed leaves backends which run on and commit;
// they are found by their process title (it carries the cluster's name), their -D argument, or their working folder.
import { execFile } from 'node:child_process';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { basename } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { EmbeddedPostgresError, isErrno } from './embedded-postgres-error.ts';

const run = promisify(execFile);

const pollMs = 20;
const quitGraceMs = 5_000;
const killGraceMs = 10_000;

export interface Cluster {
  directory: string;
  name: string;
}

export async function listClusterProcesses(cluster: Cluster): Promise<number[]> {
  return process.platform === 'linux' ? listFromProc(cluster) : listFromPs(cluster);
}

async function listFromProc(cluster: Cluster): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry));
  const used = await Promise.all(
    pids.map(async (pid) => {
      const command = await readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '');
      if (!isPostgres(command)) return false;
      if (namesCluster(command.replaceAll('\0', ' '), cluster)) return true;
      // Unreadable for root in a container without SYS_PTRACE; the command line has decided there.
      const folder = await readlink(`/proc/${pid}/cwd`).catch(() => '');
      return folder === cluster.directory || folder === `${cluster.directory} (deleted)`;
    }),
  );
  return pids.filter((_, index) => used[index]).map(Number);
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

/** Whether a process runs. A zombie doesn't: nobody may be there to reap a postmaster that we only adopted. */
export async function isRunning(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return isErrno(error, 'EPERM');
  }
  if (process.platform !== 'linux') return true;
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '');
  return stat !== '' && stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z';
}

/** Resolves with true when none of them runs any more, with false when time is up. */
export async function waitUntilGone(pids: number[], timeoutMs: number): Promise<boolean> {
  for (const deadline = performance.now() + timeoutMs; ; await delay(pollMs)) {
    const running = await Promise.all(pids.map(isRunning));
    if (!running.includes(true)) return true;
    if (performance.now() > deadline) return false;
  }
}

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
