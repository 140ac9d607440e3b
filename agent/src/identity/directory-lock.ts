// One agent process per data directory: two would corrupt each other's journal.
import { randomBytes } from 'node:crypto';
import { type FileHandle, open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { AgentError } from '../agent-error.ts';
import { errorCode, readIfExists, syncFolder } from './durable-file.ts';
import {
  foreignStamp,
  isSame,
  isTouched,
  LockClaim,
  type LockStamp,
  ownPlace,
  placeLength,
} from './lock-claim.ts';

export interface DirectoryLock {
  release(): Promise<void>;
}

/** Locks that this process holds or is about to hold. */
const heldHere = new Set<string>();
/** Turns that this process has requested, by their file names. */
const turnsHere = new Set<string>();
/** How long a holder in another container is silent before its lock is taken over. It touches the lock every 2 s. */
const silentAfterMs = 10_000;
/** How long a turn, and taking a lock over, may take. */
const takeOverMs = 5_000;
/** On a slow disk, taking it over may take this many times as long as making a lock, but no longer than a minute. */
const timesAsLong = 20;
const maxTakeOverMs = 60_000;

/** Another live process, or another agent in this one, holds the lock. */
export class LockHeld extends AgentError {
  readonly holder: number;

  constructor(holder: number) {
    super(
      `Another agent (process ${holder}) uses this data directory.`,
      'Stop that agent first, or give this one its own directory with --data.',
    );
    this.holder = holder;
  }
}

export interface LockOptions {
  /** Called before it waits to see whether a holder in another container still runs. */
  onWait?: () => void;
  /** How long such a holder has to be silent before its lock is taken over; 10 s by default. */
  silentAfterMs?: number;
  /**
   * Called if another process has taken the lock over, because this one stood still. Nothing may be written to the
   * directory after that.
   */
  onLost?: () => void;
}

/** @throws {LockHeld} */
export async function lockDirectory(path: string, options: LockOptions = {}): Promise<DirectoryLock> {
  if (heldHere.has(path)) throw new LockHeld(process.pid);
  heldHere.add(path);
  const name = (await processName(process.pid)) ?? String(process.pid);
  const claim = new LockClaim(path, name);
  try {
    await make(path, claim, options);
  } catch (error) {
    heldHere.delete(path);
    throw error;
  }
  claim.keep(() => options.onLost?.());
  return {
    async release() {
      claim.leave();
      try {
        if (nameOf(await readIfExists(path)) === name) await rm(path, { force: true });
        await claim.remove();
      } catch {
        // The disk can't be written. What is left is taken over once this process has ended.
      } finally {
        // Only now: whoever in this process takes the lock writes the same name into it.
        heldHere.delete(path);
      }
    },
  };
}

/** Returns the id of the live process that holds the lock; undefined if nobody does. */
export async function lockHolder(path: string): Promise<number | undefined> {
  const name = nameOf(await readIfExists(path));
  if (name === undefined) return undefined;
  const stamp = await foreignStamp(path);
  if (stamp !== undefined) return Date.now() - stamp.touchedAtMs < silentAfterMs ? pidOf(name) : undefined;
  if (pidOf(name) === process.pid) return heldHere.has(path) ? process.pid : undefined;
  return liveProcess(name);
}

async function make(path: string, claim: LockClaim, options: LockOptions): Promise<void> {
  const { name } = claim;
  let beganMs = performance.now();
  let allowedMs = takeOverMs;
  for (;;) {
    const triedMs = performance.now();
    const made = await claim.make();
    if (made === 'made') return;
    const tookMs = performance.now() - triedMs;
    allowedMs = Math.max(allowedMs, Math.min(timesAsLong * tookMs, maxTakeOverMs));
    const foreign = await foreignStamp(path);
    if (foreign !== undefined) {
      options.onWait?.();
      if (await isTouched(path, foreign, options.silentAfterMs ?? silentAfterMs))
        throw new LockHeld(pidOf(nameOf(await readIfExists(path)) ?? '') ?? 0);
      beganMs = performance.now();
    }
    const found = await lookAt(path, foreign);
    if (found.holder !== undefined) throw new LockHeld(found.holder);
    let isMine = false;
    await inTurn({ path, name, untilMs: performance.now() + takeOverMs }, async () => {
      const { isThere, holder } = await lookAt(path, foreign);
      if (holder !== undefined) return;
      // Only one process at a time removes a stale lock. If there is no lock here, another process may be creating one.
      if (isThere) await rm(path, { force: true });
      if (made === 'impossible') isMine = await createInTurn(path, name);
    });
    if (isMine) return;
    if (performance.now() > beganMs + allowedMs) {
      throw new AgentError(
        'Other agents are being started with this data directory.',
        `Start only one agent on it. If there are no others, remove the files next to it that begin with ${turnPrefix(path)}.`,
      );
    }
    await pause(Math.random() * 20);
  }
}

/**
 * For file systems without hard links. All processes create the lock in their turn, so none removes it while it is
 * incomplete.
 */
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
  /** Identifies this process. */
  name: string;
  /** Deadline, by `performance.now()`. */
  untilMs: number;
}

/**
 * Looks at a lock. One with this process's own id is from an earlier process, so nobody holds it. The same is true of one
 * from another container that is `silent`: that was not touched for long.
 */
async function lookAt(
  path: string,
  silent: LockStamp | undefined,
): Promise<{ isThere: boolean; holder: number | undefined }> {
  const name = nameOf(await readIfExists(path));
  if (name === undefined) return { isThere: false, holder: undefined };
  const foreign = await foreignStamp(path);
  if (foreign !== undefined)
    return { isThere: true, holder: isSame(foreign, silent) ? undefined : (pidOf(name) ?? 0) };
  const isOther = pidOf(name) !== process.pid;
  return { isThere: true, holder: isOther ? await liveProcess(name) : undefined };
}

/**
 * Runs the action while no other process runs one, or not at all if another's turn comes first. Each process requests
 * its turn with a file of its own and then looks for the others': of two, at least one sees the other. Names are never
 * reused, so files of dead processes can be removed.
 */
async function inTurn({ path, name, untilMs }: Turn, action: () => Promise<void>): Promise<void> {
  const folder = dirname(path);
  const mine = `${turnPrefix(path)}${encodeURIComponent(name)}-${await ownPlace()}${randomBytes(6).toString('hex')}`;
  turnsHere.add(mine);
  try {
    await (await open(join(folder, mine), 'wx', 0o600)).close();
    for (let isAlone = false; !isAlone; ) {
      const others = (await liveTurns(path, mine)).filter((file) => file !== mine);
      if (others.some((file) => file < mine) || performance.now() > untilMs) return;
      isAlone = others.length === 0;
      // Processes that come later step back when they see this file, but an earlier one may be at work.
      if (!isAlone) await pause(5);
    }
    await action();
  } finally {
    turnsHere.delete(mine);
    await rm(join(folder, mine), { force: true });
  }
}

/** Whether the end of a turn's file name says that it is of another container. */
async function isFromElsewhere(ending: string): Promise<boolean> {
  return ending.length === 2 * placeLength && !ending.startsWith(await ownPlace());
}

/** Nobody can ask whether a process in another container lives; but no turn takes longer than this. */
async function isRecent(file: string, mine: string): Promise<boolean> {
  const [theirs, ours] = await Promise.all([file, mine].map((each) => stat(each).catch(() => undefined)));
  return theirs !== undefined && ours !== undefined && ours.mtimeMs - theirs.mtimeMs < 2 * takeOverMs;
}

function turnPrefix(path: string): string {
  return `${basename(path)}.turn-`;
}

async function liveTurns(path: string, mine: string): Promise<string[]> {
  const prefix = turnPrefix(path);
  const live: string[] = [];
  for (const file of await readdir(dirname(path))) {
    if (!file.startsWith(prefix)) continue;
    const name = decodeURIComponent(file.slice(prefix.length, file.lastIndexOf('-')));
    const isLive = (await isFromElsewhere(file.slice(file.lastIndexOf('-') + 1)))
      ? await isRecent(join(dirname(path), file), join(dirname(path), mine))
      : pidOf(name) === process.pid
        ? turnsHere.has(file)
        : (await liveProcess(name)) !== undefined;
    if (isLive) live.push(file);
    else await rm(join(dirname(path), file), { force: true });
  }
  return live;
}

function nameOf(content: Buffer | undefined): string | undefined {
  return content?.toString('utf8').trim();
}

function pidOf(name: string): number | undefined {
  const pid = Number(name.split(' ')[0]);
  return Number.isInteger(pid) && pid > 0 ? pid : undefined;
}

/** Returns the id of the process with that name if it is alive. */
async function liveProcess(name: string): Promise<number | undefined> {
  const pid = pidOf(name);
  if (pid === undefined || !isAlive(pid)) return undefined;
  const current = await processName(pid);
  // If the system tells when a process began, a reused process id is recognized. It also has processes that have ended
  // and that their parent has not asked about yet: some containers have nobody who does.
  return current === undefined || (current === name && !(await hasEnded(pid))) ? pid : undefined;
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

/** `<pid> <boot> <start tick>` if /proc is available, so that a name is never reused. */
async function processName(pid: number): Promise<string | undefined> {
  try {
    const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
    return `${pid} ${boot} ${(await processFields(pid))[19]}`;
  } catch {
    return undefined;
  }
}

/** Whether nothing but its entry is left of a process (a zombie). */
async function hasEnded(pid: number): Promise<boolean> {
  const [state = ''] = await processFields(pid).catch(() => ['Z']);
  return state === 'Z' || state === 'X';
}

/**
 * Returns the fields of /proc/<pid>/stat from the third one on: the second one, the command's name, may itself contain
 * spaces and parentheses. The state comes first; the start tick, field 22, is at 19.
 */
async function processFields(pid: number): Promise<string[]> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}
