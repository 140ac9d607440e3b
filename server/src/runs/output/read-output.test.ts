import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { unrestricted } from '../../store/people/visibility.ts';
import type { ClaimedStep } from '../../store/queue/claims/claims.ts';
import { endOf, givenUp } from '../testing.ts';
import { chunkOf, setupOutput, type TestOutput, textOf } from './output-testing.ts';
import { findOutput, outputLength, readOutputBytes, readOutputPage } from './read-output.ts';

async function printed() {
  const t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  await t.send(
    lease,
    chunkOf(lease, 1, 'one\n'),
    chunkOf(lease, 2, 'TWO\n', 'stderr'),
    chunkOf(lease, 3, 'three\n'),
  );
  return Object.assign(t, { runId, lease });
}

async function bytes(
  t: TestOutput,
  { runId, lease }: { runId: number; lease: ClaimedStep },
  range: { start: number; end: number; stream?: 'stdout' | 'stderr' },
): Promise<string> {
  const attempt = await findOutput(t, { runId, stepId: lease.id }, unrestricted);
  const parts: Buffer[] = [];
  for await (const part of readOutputBytes(t, attempt, { stream: undefined, ...range }))
    parts.push(Buffer.from(part));
  return Buffer.concat(parts).toString();
}

test('the bytes are those that were printed, of both streams in order or of one', async () => {
  await using t = await printed();
  expect(await bytes(t, t, { start: 0, end: 14 })).toBe('one\nTWO\nthree\n');
  expect(await bytes(t, t, { start: 0, end: 10, stream: 'stdout' })).toBe('one\nthree\n');
  expect(await bytes(t, t, { start: 0, end: 4, stream: 'stderr' })).toBe('TWO\n');
});

test('any range of the bytes is that range', async () => {
  await using t = await printed();
  const whole = 'one\nTWO\nthree\n';
  for (let start = 0; start <= whole.length; start += 1)
    for (let end = start; end <= whole.length; end += 3)
      expect(await bytes(t, t, { start, end })).toBe(whole.slice(start, end));
  expect(await bytes(t, t, { start: 5, end: 8, stream: 'stdout' })).toBe('hre');
});

test('the length is that of the requested stream', async () => {
  await using t = await printed();
  const attempt = await findOutput(t, { runId: t.runId, stepId: t.lease.id }, unrestricted);
  expect(await outputLength(t, attempt, undefined)).toBe(14);
  expect(await outputLength(t, attempt, 'stderr')).toBe(4);
});

test('pages continue after a number and hold about what is asked for, but at least one chunk', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  for (let seq = 1; seq <= 9; seq += 1) await t.send(lease, chunkOf(lease, seq, randomBytes(100_000)));
  const attempt = await findOutput(t, { runId, stepId: lease.id }, unrestricted);
  const seqs = async (after: number, maxRawBytes: number) =>
    (await readOutputPage(t, attempt, { after, maxRawBytes })).chunks.map((chunk) => chunk.seq);
  expect(await seqs(0, 250_000)).toEqual([1, 2, 3]);
  expect(await seqs(3, 200_000)).toEqual([4, 5]);
  expect(await seqs(8, 1)).toEqual([9]);
  expect(await seqs(9, 1_000_000)).toEqual([]);
});

test('an attempt that was given up keeps its output, beside that of the next one', async () => {
  await using t = await printed();
  await t.settle(givenUp(t.lease));
  const attempt = await findOutput(t, { runId: t.runId, stepId: t.lease.id, epoch: 1 }, unrestricted);
  const page = await readOutputPage(t, attempt, { after: 1, maxRawBytes: 1_000 });
  expect(page).toMatchObject({ attempt: 1, outputState: 'gapped', lastSeq: 3, rawBytes: 14 });
  expect(page.chunks.map((chunk) => textOf(chunk.data))).toEqual(['TWO\n', 'three\n']);
});

test('a step that was never leased has no output; a step of another run is not found', async () => {
  await using t = await printed();
  const other = await t.start();
  const [waiting] = await t.steps(other);
  const none = await findOutput(t, { runId: other, stepId: waiting?.id ?? 0 }, unrestricted);
  expect(await readOutputPage(t, none, { after: 0, maxRawBytes: 10 })).toMatchObject({
    lastSeq: 0,
    chunks: [],
  });
  await expect(findOutput(t, { runId: other, stepId: t.lease.id }, unrestricted)).rejects.toMatchObject({
    code: 'not_found',
  });
  await expect(
    findOutput(t, { runId: t.runId, stepId: t.lease.id, epoch: 2 }, unrestricted),
  ).rejects.toMatchObject({
    code: 'not_found',
  });
});

test('a stored chunk that was moved to another place can’t be opened', async () => {
  await using t = await printed();
  await t.settle(endOf(t.lease));
  await t.sql`
    with a as (select sealed from run_output where seq = 1)
    update run_output set sealed = a.sealed from a where seq = 3`;
  await expect(bytes(t, t, { start: 0, end: 14 })).rejects.toThrow();
});

test.each<[string, (raw: number) => number]>([
  ['more', (raw) => raw - 1],
  ['less', (raw) => raw + 1],
])(
  'a reader of bytes gets nothing of a chunk that has %s than it states, nor anything after it',
  async (_, stated) => {
    await using t = await printed();
    await t.settle(endOf(t.lease));
    await t.sql`update run_output set raw_length = ${stated(4)} where seq = 2`;
    const taken: string[] = [];
    const attempt = await findOutput(t, { runId: t.runId, stepId: t.lease.id }, unrestricted);
    const read = async () => {
      for await (const piece of readOutputBytes(t, attempt, { start: 0, end: 14, stream: undefined }))
        taken.push(Buffer.from(piece).toString());
    };
    await expect(read()).rejects.toThrow(/chunk 2/);
    expect(taken).toEqual(['one\n']);
  },
);

test('bytes that are removed while they are read are missed, not taken for their end', async () => {
  await using t = await printed();
  const attempt = await findOutput(t, { runId: t.runId, stepId: t.lease.id }, unrestricted);
  const pieces = readOutputBytes(t, attempt, { start: 0, end: 14, stream: undefined });
  await t.sql`delete from run_output`;
  await expect(pieces.next()).rejects.toThrow('was removed while it was being read');
});
