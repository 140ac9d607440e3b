// The agent's memory of what it was leased, began and finished. Lines are appended in groups: whatever was asked for
// while a group was being synced goes to disk together with the next, so that a sync serves many attempts.
import { randomUUID } from 'node:crypto';
import { constants, writeSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { keepAs, readIfExists, writeDurably } from '../identity/durable-file.ts';
import { GrantBegins } from './grant-begins.ts';
import { encodeRecord, type JournalRecord } from './journal-record.ts';
import { applyRecord, type JournaledAttempt, recordsOf, replay } from './replay.ts';

const compactAboveBytes = 8 * 1024 * 1024;

/** On Linux a write to such a file is durable when it returns, which spares a second call; elsewhere it is synced. */
const writesAreSynced = process.platform === 'linux';
const openFlags =
  constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | (writesAreSynced ? constants.O_DSYNC : 0);

export interface JournalOptions {
  /** Whether this agent has been connected before: a missing journal was lost in this case. */
  expected: boolean;
  /** Size above which the journal is rewritten without what is settled; 8 MiB by default. */
  compactAboveBytes?: number;
  /** How long a noted record may wait for a durable one before it is written by itself; half a second by default. */
  notedMs?: number;
}

const notedMs = 500;

/**
 * While there is at most one attempt, its records are written on the main thread: handing them to another thread takes
 * longer than most disks need, and nobody else is held up. After a write that took longer than this, in ms, the next
 * one uses a thread.
 */
const quickMs = 5;
/** Attempts that are looked through for those at work. */
const maxLookedThrough = 32;

interface Waiter {
  resolve(): void;
  reject(error: Error): void;
}

export class Journal {
  readonly #path: string;
  readonly #compactAboveBytes: number;
  readonly #notedMs: number;
  #file: FileHandle;
  #bytes: number;
  #compactedBytes: number;
  readonly #attempts: Map<string, JournaledAttempt>;
  readonly #grants: GrantBegins;
  #loss: string | undefined;
  #lines: string[] = [];
  #noted: NodeJS.Timeout | undefined;
  #joining: NodeJS.Timeout | undefined;
  #isClosed = false;
  #waiters: Waiter[] = [];
  #flushing: Promise<void> | undefined;
  #failure: Error | undefined;
  #mending: Promise<boolean> | undefined;
  #syncs = 0;
  #lastTookMs = 0;
  /** Called when the disk refuses a write, before anything that waits for the write is rejected. */
  onFailure: (error: Error) => void = () => undefined;

  private constructor(path: string, file: FileHandle, start: Start) {
    this.#path = path;
    this.#file = file;
    this.#bytes = start.bytes;
    this.#compactedBytes = start.bytes;
    this.#attempts = start.attempts;
    this.#grants = start.grants;
    this.#loss = start.loss;
    this.#compactAboveBytes = start.compactAboveBytes;
    this.#notedMs = start.notedMs;
  }

  /** Opens or creates a journal. A damaged one is kept as `<path>.damaged-<time>`. */
  static async open(path: string, options: JournalOptions): Promise<Journal> {
    const content = await readIfExists(path);
    const found = content === undefined ? undefined : replay(content);
    const attempts = found?.attempts ?? new Map<string, JournaledAttempt>();
    const grants = found?.grants ?? new GrantBegins();
    const intact = found?.intact ?? !options.expected;
    // Damage that was found by an earlier process, and not reported yet, already has its time.
    const isNews = !intact && (found?.loss === undefined || grants.lostAt === undefined);
    if (isNews) grants.apply({ is: 'grants_lost', at: new Date().toISOString() });
    const loss = intact ? undefined : (found?.loss ?? randomUUID());
    // Not renamed: if the rewrite does not come about, the next start still finds what can be read in it. Kept once: a
    // journal that only has a loss to report was kept when it was found.
    if (content !== undefined && isNews) await keepAs(path, `${path}.damaged-${Date.now()}`);
    // Rewritten at each start: that drops what is torn or settled, and makes sure that the file's name is on disk.
    const bytes = await rewrite(path, attempts, grants, loss);
    const start = {
      attempts,
      grants,
      loss,
      bytes,
      compactAboveBytes: options.compactAboveBytes ?? compactAboveBytes,
      notedMs: options.notedMs ?? notedMs,
    };
    return new Journal(path, await open(path, openFlags, 0o600), start);
  }

  /** The attempts that are not settled. */
  get attempts(): ReadonlyMap<string, Readonly<JournaledAttempt>> {
    return this.#attempts;
  }

  /** What was begun under grants that have not expired yet. */
  get grants(): Pick<GrantBegins, 'find' | 'lostAt'> {
    return this.#grants;
  }

  /** False if something may be missing, until a server was told (`reconciled`). */
  get intact(): boolean {
    return this.#loss === undefined;
  }

  /** Id of the loss if something may be missing; it stays the same until a server was told. */
  get loss(): string | undefined {
    return this.#loss;
  }

  /** Why nothing can be written. A failed sync may have lost data, so everything has to be written again (`mend`). */
  get failure(): Error | undefined {
    return this.#failure;
  }

  /** How many times the disk was asked to sync. */
  get syncs(): number {
    return this.#syncs;
  }

  /** Notes a record. It reaches the disk with the next durable one, at `close`, or by itself soon after. */
  note(record: JournalRecord): void {
    this.#add(record);
    this.#writeSoon();
  }

  /**
   * Resolves when the record, and everything noted before it, is on disk. Rejects if the disk refuses.
   *
   * @param joinWithinMs how long it may wait to be written together with the next record, in ms.
   */
  durable(record: JournalRecord, joinWithinMs = 0): Promise<void> {
    // Noted even if it can't be written now: everything known is written when the journal is repaired (`mend`).
    this.#add(record);
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (joinWithinMs === 0 && this.#isAlone()) return this.#writeAtOnce();
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
      if (joinWithinMs === 0) this.#flushing ??= this.#flush();
      else this.#joining ??= setTimeout(() => this.#flushJoining(), joinWithinMs);
    });
  }

  #flushJoining(): void {
    this.#joining = undefined;
    if (this.#waiters.length > 0) this.#flushing ??= this.#flush();
  }

  #add(record: JournalRecord): void {
    this.#apply(record);
    this.#lines.push(encodeRecord(record));
  }

  /**
   * Has lines written that no durable record takes along in time: an idle agent's journal would otherwise show attempts
   * as open that are settled.
   */
  #writeSoon(): void {
    if (this.#isClosed) return;
    this.#noted ??= setTimeout(() => {
      this.#noted = undefined;
      // After a failure, everything is written again when the journal is repaired.
      if (this.#lines.length === 0 || this.#failure !== undefined) return;
      if (this.#flushing === undefined && this.#mending === undefined) this.#flushing = this.#flush();
      else this.#writeSoon();
    }, this.#notedMs).unref();
  }

  /** Whether a slow disk would hold up no other attempt, and nothing is being written. */
  #isAlone(): boolean {
    return (
      writesAreSynced &&
      this.#atWork() <= 1 &&
      this.#flushing === undefined &&
      this.#mending === undefined &&
      this.#lastTookMs <= quickMs &&
      this.#bytes <= this.#compactAboveBytes
    );
  }

  /** Number of attempts that have begun and not ended, or more if there are many attempts. */
  #atWork(): number {
    if (this.#attempts.size > maxLookedThrough) return this.#attempts.size;
    let atWork = 0;
    for (const { startedAt, finished } of this.#attempts.values())
      if (startedAt !== undefined && finished === undefined) atWork += 1;
    return atWork;
  }

  async #writeAtOnce(): Promise<void> {
    const bytes = Buffer.from(this.#takeLines());
    const waiters = this.#waiters;
    this.#waiters = [];
    const beganMs = performance.now();
    try {
      for (let written = 0; written < bytes.length; ) written += writeSync(this.#file.fd, bytes, written);
    } catch (error) {
      const failure = this.#fail(error);
      for (const waiter of waiters) waiter.reject(failure);
      throw failure;
    } finally {
      this.#lastTookMs = performance.now() - beganMs;
    }
    this.#bytes += bytes.length;
    this.#syncs += 1;
    for (const waiter of waiters) waiter.resolve();
  }

  /** Writes the whole journal again if the disk has refused it. Resolves to whether it can be relied on now. */
  mend(): Promise<boolean> {
    if (this.#failure === undefined) return Promise.resolve(true);
    this.#mending ??= this.#mend().finally(() => {
      this.#mending = undefined;
    });
    return this.#mending;
  }

  async #mend(): Promise<boolean> {
    while (this.#flushing !== undefined) await this.#flushing;
    try {
      await this.#compact();
    } catch {
      return false;
    }
    this.#failure = undefined;
    return true;
  }

  /** Notes that a server was told of the damage: from now on the journal counts as complete again. */
  async reconciled(): Promise<void> {
    if (!this.intact) await this.durable({ is: 'reconciled' });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#noted);
    clearTimeout(this.#joining);
    this.#flushJoining();
    while (this.#flushing !== undefined) await this.#flushing;
    await this.#mending;
    if (this.#failure === undefined && this.#lines.length > 0) await this.#write(this.#takeLines());
    await this.#file.close();
  }

  async #flush(): Promise<void> {
    // Lets everything that is ready in this turn of the event loop join the group.
    await new Promise(setImmediate);
    do {
      const waiters = this.#waiters;
      this.#waiters = [];
      const beganMs = performance.now();
      try {
        await this.#write(this.#takeLines());
        if (!writesAreSynced) await this.#file.datasync();
        this.#syncs += 1;
        this.#lastTookMs = performance.now() - beganMs;
        if (this.#bytes > Math.max(this.#compactAboveBytes, 2 * this.#compactedBytes)) await this.#compact();
        for (const waiter of waiters) waiter.resolve();
      } catch (error) {
        const failure = this.#fail(error);
        for (const waiter of [...waiters, ...this.#waiters]) waiter.reject(failure);
        this.#waiters = [];
      }
    } while (this.#waiters.length > 0);
    this.#flushing = undefined;
  }

  #fail(cause: unknown): Error {
    const failure = new Error('The journal can not be written', { cause });
    this.#failure = failure;
    this.onFailure(failure);
    return failure;
  }

  #takeLines(): string {
    const text = this.#lines.join('');
    this.#lines = [];
    clearTimeout(this.#noted);
    this.#noted = undefined;
    clearTimeout(this.#joining);
    this.#joining = undefined;
    return text;
  }

  async #write(text: string): Promise<void> {
    const bytes = Buffer.from(text);
    for (let written = 0; written < bytes.length; )
      written += (await this.#file.write(bytes, written, bytes.length - written)).bytesWritten;
    this.#bytes += bytes.length;
  }

  async #compact(): Promise<void> {
    // Everything noted so far is in the attempts, so lines that wait would be repeated: they are dropped with the rest.
    this.#lines = [];
    const bytes = await rewrite(this.#path, this.#attempts, this.#grants, this.#loss);
    await this.#file.close();
    this.#file = await open(this.#path, openFlags, 0o600);
    this.#bytes = bytes;
    this.#compactedBytes = bytes;
  }

  #apply(record: JournalRecord): void {
    if (record.is === 'reconciled') this.#loss = undefined;
    else if (record.is === 'granted' || record.is === 'grants_lost') this.#grants.apply(record);
    else if (record.is !== 'damaged') applyRecord(this.#attempts, record);
  }
}

interface Start {
  attempts: Map<string, JournaledAttempt>;
  grants: GrantBegins;
  loss: string | undefined;
  bytes: number;
  compactAboveBytes: number;
  notedMs: number;
}

async function rewrite(
  path: string,
  attempts: Map<string, JournaledAttempt>,
  grants: GrantBegins,
  loss: string | undefined,
): Promise<number> {
  const records = [...grants.records(new Date()), ...[...attempts.values()].flatMap(recordsOf)];
  if (loss !== undefined) records.unshift({ is: 'damaged', loss });
  const bytes = Buffer.from(records.map(encodeRecord).join(''));
  await writeDurably(path, bytes);
  return bytes.length;
}
