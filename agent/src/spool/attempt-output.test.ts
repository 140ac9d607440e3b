import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { chainLink, decodeFrame, limits, type OutputFrame } from '@opsconductor/protocol';
import { expect, test, vi } from 'vitest';
import { tellLostOutput } from '../execution/attempts/lost-output.ts';
import { Masking } from '../masking/masking.ts';
import { PatternSet } from '../masking/pattern-set.ts';
import { temporaryDirectory } from '../testing/enrolled-directory.ts';
import { AttemptOutput, type OutputLimits, type OutputOptions } from './attempt-output.ts';
import { Spool } from './spool.ts';

async function setup(
  changed: Partial<OutputLimits> = {},
  spoolIn?: (path: string) => Spool,
  more: Partial<OutputOptions> = {},
) {
  const { path, remove } = await temporaryDirectory();
  const failures: unknown[] = [];
  const stored: (() => void)[] = [];
  const clock = { ms: 1_000 };
  const output = new AttemptOutput({
    step: 1,
    epoch: 1,
    spool: spoolIn?.(path) ?? Spool.create(join(path, '1-1')),
    onStored: () => {
      for (const resolve of stored.splice(0)) resolve();
    },
    onStorageFailure: (error) => failures.push(error),
    monotonicMs: () => clock.ms,
    limits: changed,
    ...more,
  });
  return {
    output,
    failures,
    clock,
    nextStored: () => new Promise<void>((resolve) => stored.push(resolve)),
    async [Symbol.asyncDispose]() {
      await output.remove();
      await remove();
    },
  };
}

async function frames(output: AttemptOutput): Promise<OutputFrame[]> {
  const all: OutputFrame[] = [];
  while (output.hasUnsent) {
    const frame = decodeFrame(await output.takeFrame(), limits.maxChunkRawBytes);
    if (frame !== undefined) all.push(frame);
  }
  return all;
}

const textOf = (frame: OutputFrame) => gunzipSync(frame.bytes).toString('utf8');

test('the first bytes of a quiet command are sent without waiting for more', async () => {
  await using t = await setup();
  const stored = t.nextStored();
  t.output.write('stdout', Buffer.from('hello'));
  await stored;
  expect((await frames(t.output)).map(textOf)).toEqual(['hello']);
});

test('the output of a busy command is gathered, and numbered in order across both streams', async () => {
  await using t = await setup();
  t.output.begin();
  t.output.write('stdout', Buffer.from('a'));
  t.output.write('stdout', Buffer.from('b'));
  t.clock.ms += 70;
  t.output.write('stderr', Buffer.from('c'));
  t.output.write('stdout', Buffer.from('d'));
  await t.output.close();
  const all = await frames(t.output);
  expect(all.map((frame) => [frame.seq, frame.stream, textOf(frame), frame.elapsedMs])).toEqual([
    [1, 'stdout', 'ab', 0],
    [2, 'stderr', 'c', 70],
    [3, 'stdout', 'd', 70],
  ]);
});

test('the output of a fast producer is cut into full chunks', async () => {
  await using t = await setup();
  t.output.write('stdout', Buffer.alloc(limits.maxChunkRawBytes * 2 + 5, 'x'));
  await t.output.close();
  const lengths = (await frames(t.output)).map(({ rawLength }) => rawLength);
  expect(lengths).toEqual([limits.maxChunkRawBytes, limits.maxChunkRawBytes, 5]);
});

test('the digest is the chain over all chunks, and the summary counts raw bytes', async () => {
  await using t = await setup();
  t.output.write('stdout', Buffer.from('one'));
  t.output.write('stderr', Buffer.from('three'));
  expect(await t.output.close()).toEqual({ lastSeq: 2, rawBytes: 8, truncated: false });
  let digest = Buffer.alloc(32);
  for (const frame of await frames(t.output)) {
    const link = chainLink({ ...frame, sha256: createHash('sha256').update(frame.bytes).digest() });
    digest = createHash('sha256').update(digest).update(link).digest();
  }
  expect(t.output.digest).toBe(digest.toString('base64'));
});

test('a producer pauses while too much waits in memory', async () => {
  await using t = await setup({ maxGatheredBytes: 1_000 });
  expect(t.output.write('stdout', Buffer.alloc(999))).toBe(true);
  expect(t.output.write('stdout', Buffer.alloc(1))).toBe(false);
  await t.output.drained();
  expect(t.output.write('stdout', Buffer.alloc(1))).toBe(true);
});

test('a producer pauses while too much is unacknowledged, until it is acknowledged', async () => {
  await using t = await setup({ maxSpoolBytesPerAttempt: 10 });
  const stored = t.nextStored();
  t.output.write('stdout', Buffer.from('hello'));
  await stored;
  expect(t.output.write('stdout', Buffer.from('!'))).toBe(false);
  let drained = false;
  const waiting = t.output.drained().then(() => {
    drained = true;
  });
  await Promise.resolve();
  expect(drained).toBe(false);
  t.output.acknowledge(1);
  await waiting;
});

test('output beyond the cap is cut visibly, and the command is not held up', async () => {
  await using t = await setup({ maxOutputBytesPerAttempt: 10 });
  t.output.write('stdout', Buffer.from('0123456'));
  expect(t.output.write('stdout', Buffer.from('789abc'))).toBe(true);
  expect(t.output.write('stdout', Buffer.from('lost'))).toBe(true);
  expect(await t.output.close()).toMatchObject({ truncated: true });
  const all = await frames(t.output);
  expect(all.map(({ stream }) => stream)).toEqual(['stdout', 'stderr']);
  expect(all.map(textOf).join('')).toMatch(/^0123456789\n\[output cut: .*\]\n$/);
});

test('secrets are masked before anything reaches the disk, also across chunks', async () => {
  await using t = await setup({ maxChunkRawBytes: 8 });
  t.output.maskSecrets(Masking.of(new PatternSet([Buffer.from('hunter2')])));
  t.output.write('stdout', Buffer.from('12345hunter2.'));
  await t.output.close();
  expect((await frames(t.output)).map(textOf).join('')).toBe('12345********.');
});

test('if output is cut in the middle of a secret, its beginning is not shown', async () => {
  await using t = await setup({ maxOutputBytesPerAttempt: 10 });
  t.output.maskSecrets(Masking.of(new PatternSet([Buffer.from('hunter2')])));
  t.output.write('stdout', Buffer.from('12345hunter2 and more'));
  await t.output.close();
  const all = await frames(t.output);
  expect(all.map((frame) => [frame.stream, textOf(frame)])).toEqual([
    ['stdout', '12345'],
    ['stderr', expect.stringContaining('[output cut: only the first 10 bytes')],
  ]);
});

test('bytes held back from one chunk go into the next, and make no chunk of their own', async () => {
  await using t = await setup({ maxChunkRawBytes: 1_000 });
  t.output.maskSecrets(Masking.of(new PatternSet([Buffer.from('hunter2')])));
  const text = 'hunter_'.repeat(1_000);
  t.output.write('stdout', Buffer.from(text));
  await t.output.close();
  const all = await frames(t.output);
  expect(all.map(textOf).join('')).toBe(text);
  expect(all.length).toBeLessThanOrEqual(8);
});

test('attempts that use the same memory one after the other keep their bytes apart', async () => {
  await using one = await setup();
  await using other = await setup();
  const pieces = (fill: string) =>
    Array.from({ length: 150 }, (_, n) => Buffer.alloc(32_749, `${fill}${n} `.repeat(7)));
  const [ofOne, ofOther] = [pieces('a'), pieces('b')];
  for (let n = 0; n < ofOne.length; n++) {
    for (const [t, all] of [
      [one, ofOne],
      [other, ofOther],
    ] as const) {
      if (!t.output.write('stdout', all[n] as Buffer)) await t.output.drained();
      await Promise.resolve();
    }
  }
  for (const [t, all] of [
    [one, ofOne],
    [other, ofOther],
  ] as const) {
    await t.output.close();
    const got = (await frames(t.output)).map((frame) => gunzipSync(frame.bytes));
    expect(Buffer.concat(got).equals(Buffer.concat(all))).toBe(true);
  }
});

test('a disk that refuses costs the output, not the command', async () => {
  await using t = await setup({}, (path) => Spool.create(join(path, 'no such folder', 'file')));
  t.output.write('stdout', Buffer.from('x'));
  expect(await t.output.close()).toEqual({ lastSeq: 0, rawBytes: 0, truncated: true });
  expect(t.failures).toEqual([t.output.failure]);
  expect(t.output.write('stdout', Buffer.from('y'))).toBe(true);
  const succeeded = { status: 'succeeded' as const, exitCode: 0 };
  expect(tellLostOutput(succeeded, t.output)).toMatchObject({
    ...succeeded,
    message: expect.stringContaining('its disk refused it (ENOENT)'),
    advice: expect.stringContaining('data directory'),
  });
  const failed = { status: 'failed' as const, message: 'It failed.', advice: 'Look.' };
  expect(tellLostOutput(failed, t.output)).toMatchObject({
    message: expect.stringMatching(/^It failed. The agent/),
    advice: 'Look.',
  });
});

/** A spool whose disk is full for so many writes. */
function fullFor(writes: number, code = 'ENOSPC') {
  return (path: string) => {
    const spool = Spool.create(join(path, '1-1'));
    const append = vi.spyOn(spool, 'append');
    for (let at = 0; at < writes; at += 1)
      append.mockRejectedValueOnce(Object.assign(new Error(code), { code }));
    return spool;
  };
}

test('while room can be made on a full disk, the command waits and no output is lost', async () => {
  const made: string[] = [];
  const makeRoom = async () => made.push('room') < 4;
  await using t = await setup({}, fullFor(3, 'EDQUOT'), { makeRoom });
  t.output.write('stdout', Buffer.from('kept'));
  expect(await t.output.close()).toEqual({ lastSeq: 1, rawBytes: 4, truncated: false });
  expect([made.length, t.failures]).toEqual([3, []]);
});

test('output that is removed while it waits for room on a full disk waits no longer, and is not told as lost', async () => {
  const waiting: ((isMade: boolean) => void)[] = [];
  const makeRoom = () => new Promise<boolean>((resolve) => waiting.push(resolve));
  await using t = await setup({}, fullFor(2, 'ENOSPC'), { makeRoom });
  t.output.write('stdout', Buffer.from('unwanted'));
  await vi.waitFor(() => expect(waiting).toHaveLength(1));
  const removed = t.output.remove();
  waiting[0]?.(true);
  await removed;
  expect(t.failures).toEqual([]);
});

test('once the server lacks what is gone from here, nobody waits for it to confirm the rest, and no more is kept', async () => {
  await using t = await setup({}, undefined, { base: { seq: 5, rawBytes: 50, digest: '' } });
  const stored = t.nextStored();
  t.output.write('stdout', Buffer.from('rest'));
  await stored;
  t.output.serverHas(5);
  expect([t.output.awaitsConfirmation, t.output.gaps]).toEqual([true, []]);
  t.output.serverHas(3);
  expect([t.output.awaitsConfirmation, t.output.gaps]).toEqual([false, [[4, 6]]]);
  // What comes now would only fill the disk.
  t.output.write('stdout', Buffer.from('unwanted'));
  expect(await t.output.close()).toMatchObject({ lastSeq: 6, truncated: true });
});

test('the room on the disk is looked at whenever a file of the spool is full', async () => {
  const onMuchStored = vi.fn();
  const spoolIn = (path: string) => Spool.create(join(path, '1-1'), { partBytes: 1 });
  await using t = await setup({}, spoolIn, { onMuchStored });
  for (const [text, times] of [
    ['a', 0],
    ['b', 1],
    ['c', 2],
  ] as const) {
    const stored = t.nextStored();
    t.output.write('stdout', Buffer.from(text));
    t.clock.ms += 1_000;
    await stored;
    expect([text, onMuchStored.mock.calls.length]).toEqual([text, times]);
  }
});

test('output that no room can be made for is lost, and so is what another error refuses', async () => {
  for (const [code, asked] of [
    ['ENOSPC', 1],
    ['EIO', 0],
  ] as const) {
    const makeRoom = vi.fn(async () => false);
    await using t = await setup({}, fullFor(1, code), { makeRoom });
    t.output.write('stdout', Buffer.from('lost'));
    expect(await t.output.close()).toEqual({ lastSeq: 0, rawBytes: 0, truncated: true });
    expect([makeRoom.mock.calls.length, t.failures]).toMatchObject([asked, [{ code }]]);
  }
});

test('a step’s own limit cuts the output, says that the command is stopped, and calls back once', async () => {
  await using t = await setup();
  let reached = 0;
  t.output.limit(4, () => {
    reached += 1;
  });
  t.output.write('stdout', Buffer.from('1234'));
  expect(reached).toBe(0);
  t.output.write('stdout', Buffer.from('5'));
  t.output.write('stdout', Buffer.from('6'));
  expect(reached).toBe(1);
  expect(await t.output.close()).toMatchObject({ truncated: true });
  const texts = (await frames(t.output)).map(textOf);
  expect(texts).toEqual([
    '1234',
    '\n[output cut: only the first 4 bytes are kept; the command is stopped]\n',
  ]);
});
