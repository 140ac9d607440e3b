// One agent process per data directory: two would tear each other's journal.
import { randomBytes } from 'node:crypto';
import { type FileHandle, open, readdir, readFile, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { AgentError } from '../agent-error.ts';
import { createDurably, errorCode, NoHardLinks, readIfExists, syncFolder } from './durable-file.ts';

export interface DirectoryLock {
  release(): Promise<void>;
}

/** Locks that this process holds, or is about to. */
const heldHere = new Set<string>();
/** Turns that it has asked for, by their files. */
const turnsHere = new Set<string>();
/** For one that takes a lock over, at most. */
const takeOverMs = 5_000;

/** @throws {AgentError} while another live process, or another agent in this one, holds the directory. */
export async function lockDirectory(path: string): Promise<DirectoryLock> {
  if (heldHere.has(path)) throw inUse(process.pid);
  heldHere.add(path);
  const name = (await processName(process.pid)) ?? String(process.pid);
  try {
    await make(path, name);
  } catch (error) {
    heldHere.delete(path);
    throw error;
  }
  return {
    async release() {
      if (nameOf(await readIfExists(path)) === name) await rm(path, { force: true });
      heldHere.delete(path);
    },
  };
}

/** The id of the live process that holds the lock; undefined when nobody does. */
export async function lockHolder(path: string): Promise<number | undefined> {
  const name = nameOf(await readIfExists(path));
  if (name === undefined) return undefined;
  if (pidOf(name) === process.pid) return heldHere.has(path) ? process.pid : undefined;
  return liveProcess(name);
}

async function make(path: string, name: string): Promise<void> {
  const untilMs = performance.now() + takeOverMs;
  for (;;) {
    const made = await createWhole(path, name);
    if (made === 'made') return;
    const found = await lookAt(path);
    if (found.holder !== undefined) throw inUse(found.holder);
    let isMine = false;
    await inTurn({ path, name, untilMs }, async () => {
      const { isThere, holder } = await lookAt(path);
      if (holder !== undefined) return;
      // What is there and held by nobody stays so: nobody else removes one now. Where there is none, one may be made meanwhile.
      if (isThere) await rm(path, { force: true });
      if (made === 'impossible') isMine = await createInTurn(path, name);
    });
    if (isMine) return;
    if (performance.now() > untilMs) {
      throw new AgentError(
        'Other agents are being started with this data directory.',
        `Start one agent on it. Where there are no others, remove what begins with ${turnPrefix(path)} beside it.`,
      );
    }
    await pause(Math.random() * 20);
  }
}

/** Whole from its first moment: whoever reads it meanwhile would take an empty one for nobody's. */
async function createWhole(path: string, name: string): Promise<'made' | 'there' | 'impossible'> {
  try {
    return (await createDurably(path, name)) ? 'made' : 'there';
  } catch (error) {
    if (error instanceof NoHardLinks) return 'impossible';
    throw error;
  }
}

/** Where there are no hard links all make theirs so, and none is removed meanwhile, while it is not whole. */
async function createInTurn(path: string, name: string): Promise<boolean> {
  let file: FileHandle;
  try {
    file = await open(path, 'wx', 0o600);
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    throw error;
  }
  try {
    await file.writeFile(name);
    await file.sync();
  } finally {
    await file.close();
  }
  await syncFolder(dirname(path));
  return true;
}

interface Turn {
  path: string;
  /** Of this process. */
  name: string;
  /** By `performance.now()`. */
  untilMs: number;
}

/** What has this process's own id is of an earlier one: here it is held by nobody. */
async function lookAt(path: string): Promise<{ isThere: boolean; holder: number | undefined }> {
  const name = nameOf(await readIfExists(path));
  const isOther = name !== undefined && pidOf(name) !== process.pid;
  return { isThere: name !== undefined, holder: isOther ? await liveProcess(name) : undefined };
}

/**
 * Does it while no other process does, or not at all where another's turn comes first. Each asks by a file with a name of its own, and
 * then looks for those of others: of two at least one sees the other. Names are never used again, so what a dead one has left can be removed.
 */
async function inTurn({ path, name, untilMs }: Turn, action: () => Promise<void>): Promise<void> {
  const folder = dirname(path);
  const mine = `${turnPrefix(path)}${encodeURIComponent(name)}-${randomBytes(6).toString('hex')}`;
  turnsHere.add(mine);
  try {
    await (await open(join(folder, mine), 'wx', 0o600)).close();
    for (let isAlone = false; !isAlone; ) {
      const others = (await liveTurns(path)).filter((file) => file !== mine);
      if (others.some((file) => file < mine) || performance.now() > untilMs) return;
      isAlone = others.length === 0;
      // Those that come later step back when they see it; one that came before may be at work.
      if (!isAlone) await pause(5);
    }
    await action();
  } finally {
    turnsHere.delete(mine);
    await rm(join(folder, mine), { force: true });
  }
}

function turnPrefix(path: string): string {
  return `${basename(path)}.turn-`;
}

async function liveTurns(path: string): Promise<string[]> {
  const prefix = turnPrefix(path);
  const live: string[] = [];
  for (const file of await readdir(dirname(path))) {
    if (!file.startsWith(prefix)) continue;
    const name = decodeURIComponent(file.slice(prefix.length, file.lastIndexOf('-')));
    const isLive =
      pidOf(name) === process.pid ? turnsHere.has(file) : (await liveProcess(name)) !== undefined;
    if (isLive) live.push(file);
    else await rm(join(dirname(path), file), { force: true });
  }
  return live;
}

function inUse(holder: number): AgentError {
  return new AgentError(
    `Another agent (process ${holder}) uses this data directory.`,
    'Stop that agent first, or give this one its own directory with --data.',
  );
}

function nameOf(content: Buffer | undefined): string | undefined {
  return content?.toString('utf8').trim();
}

function pidOf(name: string): number | undefined {
  const pid = Number(name.split(' ')[0]);
  return Number.isInteger(pid) && pid > 0 ? pid : undefined;
}

/** The id of the process of that name, where it lives. */
async function liveProcess(name: string): Promise<number | undefined> {
  const pid = pidOf(name);
  if (pid === undefined || !isAlive(pid)) return undefined;
  const current = await processName(pid);
  // Where the system tells when a process began, a reused process id is told apart.
  return current === undefined || current === name ? pid : undefined;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
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
