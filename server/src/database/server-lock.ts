// One server process per database folder. Node has no flock, so a file says who holds the lock. Locks are numbered and
// the latest counts: taking over a stale one means creating the next, which only one process can do. A holder under the
// same kernel and process-id namespace is checked by process id and start time; a holder from elsewhere (another
// container on the same volume) by whether it still touches the file.
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { link, lutimes, open, readdir, readFile, readlink, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { DatabaseInUse, EmbeddedPostgresError, isErrno } from './embedded-postgres-error.ts';
import { giveToFolderOwner, notOurs } from './folder-owner.ts';
import { isRunning } from './postgres/cluster-processes.ts';

const run = promisify(execFile);

const heartbeatMs = 2_000;
const silenceMs = 10_000;
const pollMs = 250;

interface Holder {
  pid: number;
  startedAt: string;
  /** The kernel boot and process-id namespace in which the process id is valid. */
  realm: string;
}

export interface ServerLock {
  /** Never rejects. */
  release(): Promise<void>;
}

/**
 * Takes the lock of a folder. The lock of a dead process is taken over; one from another container is taken over once
 * it was not touched for `silentAfterMs`, which this waits for.
 *
 * @throws {EmbeddedPostgresError} naming the holder.
 */
export async function takeServerLock(
  folder: string,
  log: (message: string) => void,
  silentAfterMs = silenceMs,
): Promise<ServerLock> {
  const own = JSON.stringify(await describeProcess(process.pid));
  const temporary = join(folder, `server.lock.${randomBytes(6).toString('hex')}.tmp`);
  await writeNew(temporary, own).catch((cause) => {
    throw new EmbeddedPostgresError(`The data directory can't be written: ${cause}`, { cause });
  });
  let path: string;
  try {
    path = await succeed(folder, temporary, log, silentAfterMs);
  } finally {
    await rm(temporary, { force: true });
  }
  const heartbeat = setInterval(() => {
    const now = new Date();
    // The folder may be gone, in a test or after an operator's rm; the next start finds out.
    lutimes(path, now, now).catch(() => {});
  }, heartbeatMs);
  heartbeat.unref();
  return {
    async release() {
      clearInterval(heartbeat);
      try {
        await emptyIf(path, own);
      } catch (error) {
        log(`${path} can't be released: ${error}. The next start takes it over.`);
      }
    },
  };
}

/**
 * An empty lock names nobody, and takes no room on a full disk. It is read and truncated through one file handle, and
 * never through a link, because root may run this.
 */
async function emptyIf(path: string, content: string): Promise<void> {
  const file = await open(path, constants.O_RDWR | constants.O_NOFOLLOW);
  try {
    if ((await file.readFile('utf8')) === content) await file.truncate();
  } finally {
    await file.close();
  }
}

async function writeNew(path: string, content: string): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    await giveToFolderOwner(file, path);
    await file.writeFile(content);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}

/** Links the lock that follows the latest one, if nobody holds that. */
async function succeed(
  folder: string,
  temporary: string,
  log: (message: string) => void,
  silentAfterMs: number,
): Promise<string> {
  for (;;) {
    const latest = (await listNumbers(folder)).at(-1) ?? 0;
    if (latest > 0) await refuseIfHeld(lockPath(folder, latest), log, silentAfterMs);
    const number = latest + 1;
    if (!(await tryLink(temporary, lockPath(folder, number)))) continue;
    const numbers = await listNumbers(folder);
    const overtaken = (numbers.at(-1) ?? 0) > number;
    const outdated = overtaken ? [number] : numbers.filter((other) => other < number);
    for (const other of outdated) await rm(lockPath(folder, other), { force: true });
    if (!overtaken) return lockPath(folder, number);
  }
}

function lockPath(folder: string, number: number): string {
  return join(folder, `server.lock.${number}`);
}

async function listNumbers(folder: string): Promise<number[]> {
  const names = await readdir(folder);
  const numbers = names.flatMap((name) => /^server\.lock\.(\d+)$/.exec(name)?.[1] ?? []).map(Number);
  return numbers.sort((a, b) => a - b);
}

async function tryLink(temporary: string, path: string): Promise<boolean> {
  try {
    await link(temporary, path);
    return true;
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return false;
    throw error;
  }
}

async function refuseIfHeld(
  path: string,
  log: (message: string) => void,
  silentAfterMs: number,
): Promise<void> {
  const content = await readLock(path);
  const holder = content === undefined ? undefined : parseHolder(content);
  if (holder === undefined || !(await isHeld(path, holder, log, silentAfterMs))) return;
  throw new DatabaseInUse(holder.pid, dirname(path));
}

async function isHeld(
  path: string,
  holder: Holder,
  log: (message: string) => void,
  silentAfterMs: number,
): Promise<boolean> {
  if (holder.realm === (await describeRealm())) {
    return (await isRunning(holder.pid)) && (await startTime(holder.pid)) === holder.startedAt;
  }
  const touchedAtMs = await lastTouchMs(path);
  if (touchedAtMs === undefined) return false;
  log('The database was last used by a server on another host or in another container: waiting for its lock');
  // Measured by our own clock, so that a difference between the two clocks doesn't matter.
  const deadline = performance.now() + silentAfterMs;
  for (;;) {
    // The last look comes after the deadline: this process may have stood still for as long.
    const isLast = performance.now() >= deadline;
    if ((await lastTouchMs(path)) !== touchedAtMs) return true;
    if (isLast) return false;
    await delay(pollMs);
  }
}

async function lastTouchMs(path: string): Promise<number | undefined> {
  return stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => undefined,
  );
}

async function readLock(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw isErrno(error, 'EACCES') ? await notOurs(path, error) : error;
  }
}

/** A lock that was released, or truncated by a power loss, names nobody. */
function parseHolder(content: string): Holder | undefined {
  try {
    return JSON.parse(content);
  } catch {
    return undefined;
  }
}

export async function describeProcess(pid: number): Promise<Holder> {
  return { pid, startedAt: await startTime(pid), realm: await describeRealm() };
}

async function describeRealm(): Promise<string> {
  if (process.platform !== 'linux') return hostname();
  const [boot, namespace] = await Promise.all([
    readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
    readlink('/proc/self/ns/pid'),
  ]);
  return `${boot.trim()} ${namespace}`;
}

/** Distinguishes a process from a later one with the same id. */
async function startTime(pid: number): Promise<string> {
  if (process.platform !== 'linux') {
    return run('ps', ['-o', 'lstart=', '-p', String(pid)]).then(
      ({ stdout }) => stdout.trim(),
      () => '',
    );
  }
  const content = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '');
  // proc(5): starttime is field 22; the second field, the name, may contain spaces and parentheses.
  return content.slice(content.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}
