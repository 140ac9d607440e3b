// Where the holder of a lock runs. Two containers can share a data directory, and have processes with the same id: neither
// can ask whether a process of the other lives. So a lock is a second name of a file whose own name says in which process
// id namespace its holder runs, and the holder touches it. What is in the lock stays as earlier versions write and compare
// it; their locks, and those on file systems without hard links, have no such file.
import { createHash, randomBytes } from 'node:crypto';
import { link, readdir, readFile, readlink, rm, stat, utimes } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { createDurably, errorCode, isMissing, lacksLinks } from './durable-file.ts';

const touchMs = 2_000;
const pollMs = 250;
/** Hex digits. */
export const placeLength = 12;

/** Identifies a lock of another container, and when it was touched. */
export interface LockStamp {
  inode: bigint;
  touchedAtMs: number;
}

let place: Promise<string> | undefined;

/** Returns what differs between containers and machines, and is the same for all processes of one. */
export function ownPlace(): Promise<string> {
  place ??= Promise.all([
    readFile('/proc/sys/kernel/random/boot_id', 'utf8'),
    readlink('/proc/self/ns/pid'),
  ]).then(
    (parts) => createHash('sha256').update(parts.join(' ')).digest('hex').slice(0, placeLength),
    () => '0'.repeat(placeLength),
  );
  return place;
}

/** A file that becomes a lock by a second name. */
export class LockClaim {
  readonly name: string;
  readonly #lock: string;
  #path: string | undefined;
  #touching: NodeJS.Timeout | undefined;

  constructor(lock: string, name: string) {
    this.#lock = lock;
    this.name = name;
  }

  /** Creates the lock, complete from the first moment: anyone who read an empty one would think that nobody holds it. */
  async make(): Promise<'made' | 'there' | 'impossible'> {
    const path = `${claimPrefix(this.#lock)}${await ownPlace()}-${randomBytes(6).toString('hex')}`;
    try {
      await createDurably(path, this.name);
      await link(path, this.#lock);
    } catch (error) {
      await rm(path, { force: true });
      // Whoever has just got the lock removes the files of others.
      if (errorCode(error) === 'EEXIST' || isMissing(error)) return 'there';
      if (lacksLinks(error)) return 'impossible';
      throw error;
    }
    this.#path = path;
    await removeOthers(this.#lock, path);
    return 'made';
  }

  /**
   * Has others see that the holder lives.
   *
   * @param onLost is called if another process has taken the lock over: this one may have stood still for too long.
   */
  keep(onLost: () => void): void {
    const path = this.#path;
    if (path === undefined) return;
    this.#touching = setInterval(() => {
      void this.#touch(path).then((isHeld) => {
        // After a release others may have it.
        if (isHeld || this.#touching === undefined) return;
        this.leave();
        onLost();
      });
    }, touchMs).unref();
  }

  /** Never rejects. Returns false if the lock is another's by now, or has been meanwhile. */
  async #touch(path: string): Promise<boolean> {
    const now = new Date();
    // Not the lock itself: should another process have taken it over, it would seem to be touched by that one.
    const isGone = await utimes(path, now, now).then(() => false, isMissing);
    const holder = await readFile(this.#lock, 'utf8').catch(() => '');
    if (holder.trim() === this.name) {
      if (isGone) await link(this.#lock, path).catch(() => undefined);
      return true;
    }
    if (holder !== '') return false;
    // Whoever takes a lock over removes this file, too, and may have released the lock since.
    return !isGone || (await statOf(dirname(this.#lock))) === undefined;
  }

  /** Ends what `keep` began. */
  leave(): void {
    clearInterval(this.#touching);
    this.#touching = undefined;
  }

  async remove(): Promise<void> {
    if (this.#path !== undefined) await rm(this.#path, { force: true });
  }
}

/** Returns the stamp of a lock whose holder runs in another container; `undefined` for any other. */
export async function foreignStamp(lock: string): Promise<LockStamp | undefined> {
  const held = await statOf(lock);
  if (held === undefined) return undefined;
  const own = `${claimPrefix(lock)}${await ownPlace()}-`;
  for (const path of await claimsOf(lock)) {
    if (path.startsWith(own) || (await statOf(path))?.ino !== held.ino) continue;
    return { inode: held.ino, touchedAtMs: Number(held.mtimeMs) };
  }
  return undefined;
}

export function isSame(one: LockStamp, other: LockStamp | undefined): boolean {
  return one.inode === other?.inode && one.touchedAtMs === other.touchedAtMs;
}

/** Waits for as long as a holder may be silent, or until the lock is touched or replaced. Returns whether it was. */
export async function isTouched(lock: string, stamp: LockStamp, silentAfterMs: number): Promise<boolean> {
  // By our own clock, so that a difference between two clocks doesn't matter.
  const untilMs = performance.now() + silentAfterMs;
  for (;;) {
    // The last look comes after the deadline: this process may have stood still for as long.
    const isLast = performance.now() >= untilMs;
    const now = await foreignStamp(lock);
    if (now === undefined) return false;
    if (!isSame(now, stamp)) return true;
    if (isLast) return false;
    await new Promise((resolve) => setTimeout(resolve, Math.min(pollMs, silentAfterMs)));
  }
}

function claimPrefix(lock: string): string {
  return `${lock}.of-`;
}

async function claimsOf(lock: string): Promise<string[]> {
  const folder = dirname(lock);
  const prefix = basename(claimPrefix(lock));
  const names = await readdir(folder);
  return names.filter((name) => name.startsWith(prefix)).map((name) => join(folder, name));
}

/** Removes the files of processes that have ended, and of those that were too late. */
async function removeOthers(lock: string, own: string): Promise<void> {
  for (const path of await claimsOf(lock)) if (path !== own) await rm(path, { force: true });
}

async function statOf(path: string) {
  return stat(path, { bigint: true }).catch(() => undefined);
}
