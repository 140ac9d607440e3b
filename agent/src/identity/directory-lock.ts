// One agent process per data directory: two would tear each other's journal.
import { open, readFile, rm } from 'node:fs/promises';
import { AgentError } from '../agent-error.ts';
import { errorCode, readIfExists } from './durable-file.ts';

export interface DirectoryLock {
  release(): Promise<void>;
}

const heldHere = new Set<string>();

/** @throws {AgentError} while another live process, or another agent in this one, holds the directory. */
export async function lockDirectory(path: string): Promise<DirectoryLock> {
  const owner = await processName(process.pid);
  for (;;) {
    if (await tryCreate(path, owner ?? String(process.pid))) break;
    const holder = await lockHolder(path);
    if (holder !== undefined) {
      throw new AgentError(
        `Another agent (process ${holder}) uses this data directory.`,
        'Stop that agent first, or give this one its own directory with --data.',
      );
    }
    await rm(path, { force: true });
  }
  heldHere.add(path);
  return {
    async release() {
      heldHere.delete(path);
      await rm(path, { force: true });
    },
  };
}

/** The id of the live process that holds the lock; undefined when nobody does. */
export async function lockHolder(path: string): Promise<number | undefined> {
  const name = (await readIfExists(path))?.toString('utf8').trim();
  const pid = Number(name?.split(' ')[0]);
  if (name === undefined || !Number.isInteger(pid) || pid <= 0) return undefined;
  if (pid === process.pid) return heldHere.has(path) ? pid : undefined;
  if (!isAlive(pid)) return undefined;
  const current = await processName(pid);
  // Where the system tells when a process began, a reused process id is told apart.
  return current === undefined || current === name ? pid : undefined;
}

async function tryCreate(path: string, content: string): Promise<boolean> {
  try {
    const file = await open(path, 'wx', 0o600);
    await file.writeFile(content);
    await file.close();
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === 'EPERM';
  }
}

/** `<pid> <boot> <start tick>` where /proc tells, so that a name is never reused. */
async function processName(pid: number): Promise<string | undefined> {
  try {
    const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // Field 22, counted after the command name, which may itself hold spaces and parentheses.
    const startTick = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
    return `${pid} ${boot} ${startTick}`;
  } catch {
    return undefined;
  }
}
