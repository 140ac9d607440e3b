// A disk that refuses one operation, and a process that is killed before it: each operation in turn. Afterwards the same
// process goes on, or a new one on the same directory.
import { createHash } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ContentAnswer, ContentRequest } from '@opsconductor/protocol';
import {
  encodeBase64,
  encryptionPublicKeyOf,
  generateEncryptionKeyPair,
  generateSigningKeyPair,
  signingPublicKeyOf,
} from '@opsconductor/protocol/sealing';
import { pino } from 'pino';
import { expect, onTestFinished, test, vi } from 'vitest';
import { FileCache } from './contents/file-cache.ts';
import { StagedArtifacts } from './contents/staged-artifacts.ts';
import { dataDirectory, prepareDataDirectory, removeUnfinishedFiles } from './identity/data-directory.ts';
import { lockDirectory, lockHolder } from './identity/directory-lock.ts';
import { readIdentity, saveIdentity, saveKey } from './identity/identity.ts';
import { readNextKeys } from './identity/next-keys.ts';
import { OwnKeys } from './identity/own-keys.ts';
import { Journal } from './journal/journal.ts';
import type { JournalRecord } from './journal/journal-record.ts';
import { type Replay, replay } from './journal/replay.ts';
import { closeLeft, disk, type Failure, failAt, workingDisk } from './testing/failing-disk.ts';

vi.mock('node:fs/promises', async (original) => {
  const { failingPromises } = await import('./testing/failing-disk.ts');
  return failingPromises(await original<object>());
});
vi.mock('node:fs', async (original) => {
  const { failingSync } = await import('./testing/failing-disk.ts');
  return failingSync(await original<typeof import('node:fs')>());
});

const failures: Failure[] = ['ENOSPC', 'killed'];

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'opsconductor-disk-'));
  onTestFinished(async () => {
    await closeLeft();
    await rm(folder, { recursive: true });
  });
  return folder;
}

/** Returns the operations of some work on a disk that works. */
async function operationsOf(work: () => Promise<void>): Promise<string[]> {
  workingDisk();
  await work();
  return [...disk.done];
}

const contents: Record<string, Buffer> = { old: Buffer.alloc(600, 'o'), f: Buffer.alloc(600, 'f') };
const never = new AbortController().signal;

async function ask(request: ContentRequest): Promise<ContentAnswer> {
  if (request.do === 'read_file') return { data: contents[request.file]?.toString('base64') ?? '' };
  if (request.do !== 'find_file') throw new Error(`asked for ${request.do}`);
  const bytes = contents[request.name] ?? Buffer.alloc(0);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { file: { id: request.name, sha256, size: bytes.length } };
}

/** Room for one of the two files: each that is fetched drives the other out. */
async function setupCache() {
  const folder = await temporaryFolder();
  const open = () => FileCache.open(folder, 1_000);
  const hold = (cache: FileCache, name: string) =>
    cache.hold({ name, ask, signal: never, found: () => {}, moved: () => {} });
  const use = async (cache: FileCache, name: string) => {
    const { directory, release } = await hold(cache, name);
    expect(await readFile(join(directory, name))).toEqual(contents[name]);
    await release();
  };
  const cache = await open();
  await use(cache, 'old');
  return { folder, cache, open, use, hold };
}

test.each(failures)(
  'whichever operation the disk answers with %s, a step gets a whole file or a reason, and the cache goes on',
  async (failure) => {
    const first = await setupCache();
    const done = await operationsOf(() => first.use(first.cache, 'f'));
    expect(done.length).toBeGreaterThan(10);
    for (let at = 1; at <= done.length; at += 1) {
      const t = await setupCache();
      const killed = failAt(at, failure);
      const using = t.hold(t.cache, 'f').then(async ({ directory, release }) => {
        expect(await readFile(join(directory, 'f'))).toEqual(contents['f']);
        await release();
        return undefined;
      });
      const problem = await Promise.race([using.catch((error: unknown) => error), killed]);
      if (failure !== 'killed') {
        const place = `operation ${at}: ${done[at - 1]}`;
        if (problem !== undefined) expect(problem, place).toMatchObject({ name: 'TransferError' });
        workingDisk();
        await t.use(t.cache, 'f');
        await t.use(t.cache, 'old');
        await t.use(t.cache, 'f');
        expect(await readdir(join(t.folder, 'blobs')), place).toHaveLength(1);
      }
      workingDisk();
      const next = await t.open();
      for (const name of ['f', 'old', 'f']) await t.use(next, name);
      for (const folder of ['held', 'partial']) expect(await readdir(join(t.folder, folder))).toEqual([]);
      expect(await readdir(join(t.folder, 'blobs'))).toHaveLength(1);
    }
  },
);

test('a step that can get no directory for artifacts is told why, and giving one back never fails', async () => {
  const open = async () => StagedArtifacts.open(join(await temporaryFolder(), 'artifacts'));
  const staged = await open();
  const done = await operationsOf(async () => (await staged.stage()).release());
  expect(done).toEqual(['mkdir', 'mkdir', 'rm']);
  for (let at = 1; at <= done.length; at += 1) {
    const other = await open();
    void failAt(at, 'ENOSPC');
    const problem = await other.stage().then(
      ({ release }) => release(),
      (error: unknown) => error,
    );
    if (done[at - 1] === 'rm') expect(problem).toBeUndefined();
    else expect(problem).toMatchObject({ name: 'TransferError', reason: 'no_space' });
    workingDisk();
  }
});

test('a lock that the disk does not let go of keeps no agent from ending, nor the next one from starting', async () => {
  const path = join(await temporaryFolder(), 'lock');
  const held = await lockDirectory(path);
  void failAt(1, 'EIO');
  await held.release();
  expect(disk.done).toContain('rm');
  workingDisk();
  expect(await lockHolder(path)).toBeUndefined();
  await (await lockDirectory(path)).release();
});

const starting = (step: number): JournalRecord => ({
  ...{ is: 'starting', step, epoch: 1 },
  ...{ leaseToken: 't'.repeat(200), at: 'now' },
});
const settled = (step: number): JournalRecord => ({ is: 'settled', step, epoch: 1 });

/** What the test knows of each step, and so what the journal may say of it. */
class Known {
  readonly began = new Set<number>();
  readonly maybe = new Set<number>();
  readonly over = new Set<number>();

  async begins(journal: Journal, step: number): Promise<void> {
    this.maybe.add(step);
    await journal.durable(starting(step));
    this.began.add(step);
  }

  ends(journal: Journal, step: number): void {
    this.over.add(step);
    journal.note(settled(step));
  }

  /** A step that began and is not over is there; one that nobody asked for is not. */
  check(journal: Pick<Journal | Replay, 'intact' | 'attempts'>, place: string): void {
    expect(journal.intact, place).toBe(true);
    const steps = [...journal.attempts.values()].map(({ step }) => step);
    for (const step of this.began) if (!this.over.has(step)) expect(steps, place).toContain(step);
    for (const step of steps) expect(this.maybe.has(step), place).toBe(true);
  }
}

async function useJournal(journal: Journal, known: Known): Promise<void> {
  for (let step = 1; step <= 12; step += 3) {
    await known.begins(journal, step);
    await Promise.all([known.begins(journal, step + 1), known.begins(journal, step + 2)]);
    known.ends(journal, step);
    known.ends(journal, step + 1);
  }
}

async function setupJournal() {
  const file = join(await temporaryFolder(), 'journal');
  const open = () => Journal.open(file, { expected: false, compactAboveBytes: 600, notedMs: 1e6 });
  return { path: file, open, journal: await open(), known: new Known() };
}

test.each(failures)(
  'whichever operation the disk answers with %s, what was recorded is there, and the journal can be mended',
  async (failure) => {
    const first = await setupJournal();
    const done = await operationsOf(() => useJournal(first.journal, first.known));
    expect(done.filter((name) => name === 'rename').length).toBeGreaterThan(1);
    expect(done).toContain('writeSync');
    for (let at = 1; at <= done.length; at += 1) {
      const place = `operation ${at}: ${done[at - 1]}`;
      const t = await setupJournal();
      const killed = failAt(at, failure);
      const using = useJournal(t.journal, t.known).catch((error: unknown) => error);
      await Promise.race([using, killed]);
      if (failure !== 'killed') {
        workingDisk();
        // A process that started now would find everything.
        t.known.check(replay(await readFile(t.path)), place);
        expect(await t.journal.mend(), place).toBe(true);
        await t.known.begins(t.journal, 100);
      }
      workingDisk();
      const next = await t.open();
      t.known.check(next, place);
      await t.known.begins(next, 101);
      t.known.check(await t.open(), place);
    }
  },
);

async function setupKeys() {
  const data = dataDirectory(await temporaryFolder());
  await prepareDataDirectory(data);
  const old = { signing: await generateSigningKeyPair(), encryption: await generateEncryptionKeyPair() };
  await saveKey(data.signingKey, old.signing.privateKey);
  await saveKey(data.encryptionKey, old.encryption.privateKey);
  await saveIdentity(data, {
    ...{ server: 'http://server', agentName: 'a', segmentName: 'dmz', enrolledAt: 'then' },
    ...{ installationId: 'installation-1', segmentId: 3, agentId: 7 },
    serverKey: encodeBase64(old.signing.publicKey),
    segmentRoot: encodeBase64(old.signing.publicKey),
  });
  const open = async () => {
    await removeUnfinishedFiles(data);
    const identity = await readIdentity(data);
    return { identity, keys: await OwnKeys.open({ data, identity, log: pino({ level: 'silent' }) }) };
  };
  return { data, old, open, ...(await open()) };
}

type KeysSetup = Awaited<ReturnType<typeof setupKeys>>;

/** Has new keys made and named by the roster. */
async function replaceKeys({ data, keys }: Pick<KeysSetup, 'data' | 'keys'>): Promise<void> {
  await keys.make();
  const next = await readNextKeys(data);
  if (next === undefined) throw new Error('none were made');
  await keys.named({
    ...{ agentId: 7, name: 'a' },
    signingKey: encodeBase64(await signingPublicKeyOf(next.signingPrivateKey)),
    encryptionKey: encodeBase64(await encryptionPublicKeyOf(next.encryptionPrivateKey)),
  });
}

test.each(failures)(
  'whichever operation the disk answers with %s, the agent has two keys that belong together, and a roster’s new keys come into use',
  async (failure) => {
    const first = await setupKeys();
    const done = await operationsOf(() => replaceKeys(first));
    expect(done.length).toBeGreaterThan(15);
    for (let at = 1; at <= done.length; at += 1) {
      const place = `operation ${at}: ${done[at - 1]}`;
      const t = await setupKeys();
      const killed = failAt(at, failure);
      const replacing = replaceKeys(t).catch((error: unknown) => error);
      await Promise.race([replacing, killed]);
      workingDisk();
      const next = await readNextKeys(t.data);
      if (failure !== 'killed') {
        // The same process at the next roster.
        if (next !== undefined || t.identity.signingPrivateKey === t.old.signing.privateKey)
          await replaceKeys(t);
        expect(await readNextKeys(t.data), place).toBeUndefined();
      }
      const { identity, keys } = await t.open();
      const isOld = encodeBase64(identity.signingPrivateKey) === encodeBase64(t.old.signing.privateKey);
      const hasOld =
        encodeBase64(identity.encryptionPrivateKey) === encodeBase64(t.old.encryption.privateKey);
      expect(hasOld, place).toBe(isOld);
      if (next !== undefined && !isOld)
        expect(identity.encryptionPrivateKey, place).toEqual(next.encryptionPrivateKey);
      // A server that has the other key is answered with it.
      if (isOld) {
        await replaceKeys({ data: t.data, keys });
        expect(identity.signingPrivateKey, place).not.toEqual(t.old.signing.privateKey);
      }
      const last = await t.open();
      expect(last.identity.signingPrivateKey, place).toEqual(identity.signingPrivateKey);
      expect(last.identity.encryptionPrivateKey, place).toEqual(identity.encryptionPrivateKey);
      expect(await readNextKeys(t.data), place).toBeUndefined();
    }
  },
);
