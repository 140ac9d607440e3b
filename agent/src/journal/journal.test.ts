import { constants } from 'node:fs';
import {
  appendFile,
  type FileHandle,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  stat,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { Journal } from './journal.ts';
import { encodeRecord, type JournalRecord } from './journal-record.ts';
import { recordsOf, replay } from './replay.ts';

async function setup() {
  const { path, remove } = await temporaryDirectory();
  return { path: join(path, 'journal'), [Symbol.asyncDispose]: remove };
}

const leased = (step: number): JournalRecord => ({ is: 'leased', step, epoch: 1, leaseToken: 't' });
const starting = (step: number): JournalRecord => ({
  is: 'starting',
  step,
  epoch: 1,
  leaseToken: 't',
  at: 'now',
});
const settled = (step: number): JournalRecord => ({ is: 'settled', step, epoch: 1 });
const finished = (step: number): JournalRecord => ({
  is: 'finished',
  step,
  epoch: 1,
  requestId: 'r',
  interrupted: false,
  outcome: { status: 'succeeded', exitCode: 0 },
  output: { lastSeq: 3, rawBytes: 12, truncated: false },
});
const fresh = { expected: false };

test('durable records are there after a crash', async () => {
  await using t = await setup();
  const journal = await Journal.open(t.path, fresh);
  journal.note(leased(1));
  await journal.durable(starting(1));
  await journal.durable(starting(2));
  await journal.durable(finished(2));
  // No close: the process has died.
  const again = await Journal.open(t.path, fresh);
  expect(again.intact).toBe(true);
  expect([...again.attempts.keys()]).toEqual(['1-1', '2-1']);
  expect(again.attempts.get('1-1')?.finished).toBeUndefined();
  expect(again.attempts.get('2-1')?.finished).toMatchObject({ requestId: 'r', output: { lastSeq: 3 } });
  await again.close();
  await journal.close();
});

test('settled attempts are gone', async () => {
  await using t = await setup();
  const journal = await Journal.open(t.path, fresh);
  await journal.durable(starting(1));
  journal.note(settled(1));
  await journal.close();
  const again = await Journal.open(t.path, fresh);
  expect(again.attempts.size).toBe(0);
  await again.close();
});

test('what was noted reaches the disk by itself, soon', async () => {
  await using t = await setup();
  const journal = await Journal.open(t.path, { ...fresh, notedMs: 5 });
  await journal.durable(starting(1));
  journal.note(settled(1));
  await vi.waitFor(async () => expect(replay(await readFile(t.path)).attempts.size).toBe(0), 20_000);
  await journal.close();
});

test('what was noted is not written by itself if a durable record takes it along, or after close', async () => {
  await using t = await setup();
  const journal = await Journal.open(t.path, fresh);
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    journal.note(leased(1));
    expect(vi.getTimerCount()).toBe(1);
    await journal.durable(starting(1));
    expect(vi.getTimerCount()).toBe(0);
    expect(journal.syncs).toBe(1);
    journal.note(settled(1));
    await journal.close();
    journal.note(leased(2));
    expect(vi.getTimerCount()).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});

test('records that are requested together share a sync', async () => {
  await using t = await setup();
  const journal = await Journal.open(t.path, fresh);
  await Promise.all(Array.from({ length: 500 }, (_, step) => journal.durable(starting(step + 1))));
  expect(journal.syncs).toBeLessThanOrEqual(2);
  await journal.close();
});

test('a last line torn anywhere is cut off, and the journal is intact', async () => {
  await using t = await setup();
  const lines = [starting(1), starting(2)].map(encodeRecord);
  const sound = lines.join('');
  const torn = encodeRecord(finished(1));
  for (let length = 0; length < torn.length; length++) {
    await writeFile(t.path, sound + torn.slice(0, length));
    const journal = await Journal.open(t.path, fresh);
    expect(journal.intact).toBe(true);
    expect([...journal.attempts.keys()]).toEqual(['1-1', '2-1']);
    await journal.close();
    expect(await readFile(t.path, 'utf8')).toBe(sound);
  }
});

test('a changed byte before the last line is damage', () => {
  const content = Buffer.from([starting(1), finished(1), starting(2)].map(encodeRecord).join(''));
  const lastLine = encodeRecord(starting(2)).length;
  fc.assert(
    fc.property(fc.nat(content.length - lastLine - 1), fc.integer({ min: 1, max: 255 }), (at, bits) => {
      const damaged = Buffer.from(content);
      damaged[at] = (damaged[at] ?? 0) ^ bits;
      expect(replay(damaged).intact).toBe(false);
    }),
    { numRuns: 1_000 },
  );
});

test('a damaged journal is set aside, and the new one says so until a server was told', async () => {
  await using t = await setup();
  await writeFile(t.path, `${encodeRecord(starting(1))}rubbish\n${encodeRecord(starting(2))}`);
  const journal = await Journal.open(t.path, fresh);
  expect(journal.intact).toBe(false);
  expect([...journal.attempts.keys()]).toEqual(['1-1', '2-1']);
  expect((await readdir(dirname(t.path))).some((name) => name.startsWith('journal.damaged-'))).toBe(true);
  await journal.durable(starting(3));
  await journal.close();
  await later(journal);
  const again = await Journal.open(t.path, fresh);
  expect(again.intact).toBe(false);
  // The loss keeps its id until more is lost.
  expect([again.loss, typeof again.loss]).toEqual([journal.loss, 'string']);
  expect(again.grants.lostAt).toEqual(journal.grants.lostAt);
  await again.close();
  await appendFile(t.path, 'rubbish\n');
  const torn = await Journal.open(t.path, fresh);
  expect([torn.intact, torn.loss === journal.loss]).toEqual([false, false]);
  await torn.reconciled();
  await torn.close();
  const third = await Journal.open(t.path, fresh);
  expect([third.intact, third.loss]).toEqual([true, undefined]);
  await third.close();
});

test('a damaged journal that a full disk keeps from being rewritten is read by the next start, and kept only until then', async () => {
  await using t = await setup();
  await writeFile(t.path, `${encodeRecord(starting(1))}rubbish\n${encodeRecord(starting(2))}`);
  const handle = await open(t.path);
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  using full = vi.spyOn(prototype, 'writeFile').mockRejectedValueOnce(new Error('ENOSPC'));
  await expect(Journal.open(t.path, fresh)).rejects.toThrow('ENOSPC');
  expect(full).toHaveBeenCalledOnce();
  for (let starts = 0; starts < 2; starts += 1) {
    const journal = await Journal.open(t.path, { expected: true });
    expect([...journal.attempts.keys()]).toEqual(['1-1', '2-1']);
    expect(journal.intact).toBe(false);
    await journal.close();
  }
  const kept = (await readdir(dirname(t.path))).filter((name) => name.startsWith('journal.damaged-'));
  // By the start that failed, too.
  expect(kept.length).toBeLessThanOrEqual(2);
  expect(await readFile(join(dirname(t.path), kept[0] ?? ''), 'utf8')).toContain('rubbish');
});

test('what was begun before the newest damage is unknown, whether or not an earlier loss was reported', async () => {
  await using t = await setup();
  await writeFile(t.path, `rubbish\n${encodeRecord(starting(1))}`);
  let before = await Journal.open(t.path, fresh);
  for (const isTold of [false, true]) {
    if (isTold) await before.reconciled();
    await before.close();
    await later(before);
    await appendFile(t.path, 'rubbish\n');
    const next = await Journal.open(t.path, fresh);
    expect(Number(next.grants.lostAt)).toBeGreaterThan(Number(before.grants.lostAt));
    before = next;
  }
  await before.close();
});

/** Resolves once the clock is past the time of the loss. */
async function later({ grants }: Journal): Promise<void> {
  await expect.poll(() => Date.now(), { interval: 1 }).toBeGreaterThan(Number(grants.lostAt));
}

test.runIf(process.platform === 'linux')(
  'what is written is on disk when the write returns, even to a file that was rewritten',
  async () => {
    await using t = await setup();
    const journal = await Journal.open(t.path, { expected: false, compactAboveBytes: 1_000 });
    expect(await isSynced(t.path)).toBe(true);
    const { ino } = await stat(t.path);
    for (let step = 1; (await stat(t.path)).ino === ino; step++) {
      await journal.durable(starting(step));
      await journal.durable(settled(step));
    }
    expect(await isSynced(t.path)).toBe(true);
    await journal.close();
  },
);

/** Whether this process's descriptor of the file is synced at each write (`O_DSYNC`). */
async function isSynced(path: string): Promise<boolean> {
  const flags: number[] = [];
  for (const fd of await readdir('/proc/self/fd')) {
    // The descriptor used for the listing itself is closed by now.
    if ((await readlink(`/proc/self/fd/${fd}`).catch(() => '')) !== path) continue;
    const info = await readFile(`/proc/self/fdinfo/${fd}`, 'utf8');
    flags.push(Number.parseInt(/^flags:\s*(\d+)/m.exec(info)?.[1] ?? '', 8));
  }
  if (flags.length === 0) throw new Error(`${path} is not open`);
  return flags.every((each) => (each & constants.O_DSYNC) !== 0);
}

test('a missing journal is damage only for an agent that was connected before', async () => {
  await using t = await setup();
  const journal = await Journal.open(t.path, { expected: true });
  expect(journal.intact).toBe(false);
  await journal.close();
});

test('a finish without a start is damage: a line before it is missing', () => {
  expect(replay(Buffer.from(encodeRecord(finished(1)))).intact).toBe(false);
});

test('what is known of a start outlasts a rewrite', () => {
  const record: JournalRecord = { ...starting(1), machineTime: { boot: 'b', ms: 5 } } as JournalRecord;
  const { attempts } = replay(Buffer.from(encodeRecord(record)));
  expect([...attempts.values()].flatMap(recordsOf)).toEqual([record]);
});

test('a large journal is rewritten without what is settled', async () => {
  await using t = await setup();
  const journal = await Journal.open(t.path, { expected: false, compactAboveBytes: 10_000 });
  await journal.durable(starting(9_999));
  for (let step = 1; step <= 500; step++) {
    await journal.durable(starting(step));
    journal.note(settled(step));
  }
  await journal.durable(starting(10_000));
  expect((await stat(t.path)).size).toBeLessThan(21_000);
  await journal.close();
  const again = await Journal.open(t.path, fresh);
  expect([...again.attempts.keys()]).toEqual(['9999-1', '10000-1']);
  await again.close();
});

test('if the disk refuses, everyone who waits is told, and everyone who comes later', async () => {
  await using t = await setup();
  const journal = await Journal.open(t.path, fresh);
  await journal.close();
  await expect(journal.durable(starting(1))).rejects.toThrow('can not be written');
  await expect(journal.durable(starting(2))).rejects.toThrow('can not be written');
  expect(journal.failure).toBeInstanceOf(Error);
});

test('once the disk accepts writes again, everything known by then is on it', async () => {
  await using t = await setup();
  const journal = await Journal.open(t.path, fresh);
  await journal.durable(starting(1));
  const failures: Error[] = [];
  journal.onFailure = (error) => failures.push(error);
  await journal.close();
  await expect(journal.durable(starting(2))).rejects.toThrow('can not be written');
  await expect(journal.durable(finished(1))).rejects.toThrow('can not be written');
  // The folder can't be written to for a while, and then it can.
  await rename(dirname(t.path), `${dirname(t.path)}-away`);
  expect(await journal.mend()).toBe(false);
  await rename(`${dirname(t.path)}-away`, dirname(t.path));
  expect(await Promise.all([journal.mend(), journal.mend()])).toEqual([true, true]);
  expect([journal.failure, failures.length]).toEqual([undefined, 1]);
  await journal.durable(settled(2));
  await journal.close();
  const again = await Journal.open(t.path, fresh);
  expect([...again.attempts.values()]).toMatchObject([{ step: 1, finished: { requestId: 'r' } }]);
  await again.close();
});

test('garbage left by a crash in the middle of a write is not read as records', async () => {
  await using t = await setup();
  await writeFile(t.path, encodeRecord(starting(1)));
  await appendFile(t.path, Buffer.alloc(4_096));
  const journal = await Journal.open(t.path, fresh);
  expect([journal.intact, journal.attempts.size]).toEqual([true, 1]);
  await journal.close();
});

test('what was begun under a grant is known after a crash and after every rewrite, until the grant expires', async () => {
  await using t = await setup();
  const begun = { nonce: 'n', target: 4, step: 2, attempt: '9-1', begins: 1 };
  const until = new Date(Date.now() + 3_600_000).toISOString();
  const journal = await Journal.open(t.path, fresh);
  journal.note({ is: 'granted', ...begun, until });
  journal.note({ is: 'granted', ...begun, nonce: 'expired', until: '2020-01-01T00:00:00.000Z' });
  await journal.durable(starting(9));
  // No close: this process has died, and so has the second one.
  for (const _ of [1, 2]) {
    const again = await Journal.open(t.path, fresh);
    expect(again.grants.find('n', 4)).toEqual({ ...begun, until });
    expect(again.grants.find('n', 5)).toBeUndefined();
    expect(again.grants.lostAt).toBeUndefined();
    await again.close();
  }
  expect(await readFile(t.path, 'utf8')).not.toContain('expired');
  await journal.close();
});

test('an agent knows up to when it lost track of what was begun, even after the loss was reported', async () => {
  await using t = await setup();
  const journal = await Journal.open(t.path, { expected: true });
  const { lostAt } = journal.grants;
  expect(lostAt).toBeInstanceOf(Date);
  await journal.reconciled();
  await journal.close();
  const again = await Journal.open(t.path, { expected: true });
  expect(again.grants.lostAt).toEqual(lostAt);
  await again.close();
});

test('a record that may wait is written together with the next one, or by itself soon after', async () => {
  await using t = await setup();
  const journal = await Journal.open(t.path, fresh);
  await journal.durable(starting(1));
  const before = journal.syncs;
  const ended = journal.durable(finished(1), 60_000);
  await journal.durable(starting(2));
  await ended;
  expect(journal.syncs).toBe(before + 1);
  expect((await readFile(t.path, 'utf8')).indexOf('finished')).toBeGreaterThan(0);
  await journal.durable(finished(2), 1);
  expect(journal.syncs).toBe(before + 2);
  await journal.close();
});

test('a record that may wait is on disk when the journal is closed', async () => {
  await using t = await setup();
  const journal = await Journal.open(t.path, fresh);
  await journal.durable(starting(1));
  const ended = journal.durable(finished(1), 60_000);
  await journal.close();
  await ended;
  expect(replay(await readFile(t.path)).attempts.get('1-1')?.finished).toBeDefined();
});
