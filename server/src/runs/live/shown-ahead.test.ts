// Output that is shown to readers once it is committed, before it is on disk (ADR 0037).
import { expect, test } from 'vitest';
import {
  chunkOf,
  digestOf,
  outputAttempt,
  setupOutput,
  type TestOutput,
  textOf,
} from '../output/output-testing.ts';
import { OutputWriter } from '../output/output-writer.ts';
import { RunStream } from './run-stream.ts';
import { parsePosition } from './stream-position.ts';

const idleMs = 60_000;

async function follow(t: TestOutput, runId: number, from = '0') {
  const position = parsePosition(from) ?? { afterSeq: 0, output: new Map() };
  const stepIds = (await t.steps(runId)).map(({ id }) => id);
  const stream = new RunStream(t, { runId, stepIds, position });
  const frames = async () => {
    const pieces = await stream.next(idleMs);
    return pieces && Buffer.concat(pieces).toString().split('\n\n').filter(Boolean);
  };
  return { frames, close: () => stream.close() };
}

/** A writer that flushes to disk only after what `before` waits for. */
function writerThatWaits(t: TestOutput, before: () => Promise<unknown>): OutputWriter {
  const sql = new Proxy(t.sql, {
    apply(target, self, [texts, ...values]) {
      const go = () => Reflect.apply(target as never, self, [texts, ...values]);
      return String(texts).includes('pg_logical_emit_message') ? before().then(go) : go();
    },
  });
  return new OutputWriter({ ...t, sql });
}

const fieldOf = (name: string, frame = '') => new RegExp(`^${name}: (.*)$`, 'm').exec(frame)?.[1];

test('a reader is shown output that is not on disk yet without its position, which follows once it is', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  const reader = await follow(t, runId);
  const reading = reader.frames();
  const writer = writerThatWaits(t, () => reading);
  const frame = chunkOf(lease, 1, 'one\n');
  const told = new Promise((done) => writer.push(outputAttempt(lease), frame, digestOf(frame), done));
  const shown = (await reading) ?? [];
  expect(shown).toHaveLength(1);
  expect(textOf(JSON.parse(fieldOf('data', shown[0]) ?? '').data)).toBe('one\n');
  expect(fieldOf('id', shown[0])).toBeUndefined();
  expect(await told).toBe('stored');
  expect(await reader.frames()).toEqual([`id: 0~${lease.id}.1.1`]);
  reader.close();
});

test('if such output is lost, the reader is made to reconnect and then gets what is there', async () => {
  await using t = await setupOutput();
  const runId = await t.start();
  const lease = await t.claimOne();
  const reader = await follow(t, runId);
  const reading = reader.frames();
  // The database goes away between commit and flush, after the reader has been shown it.
  const lost = new Error('the connection was lost');
  const writer = writerThatWaits(t, () => reading.then(() => Promise.reject(lost)));
  const isAhead: boolean[] = [];
  const unsubscribe = t.hub.onStep(lease.id, () => isAhead.push(t.hub.isAhead({ stepId: lease.id, seq: 1 })));
  const frame = chunkOf(lease, 1, 'one\n');
  const told = await new Promise((done) => writer.push(outputAttempt(lease), frame, digestOf(frame), done));
  unsubscribe();
  expect(told).toBe(lost);
  expect(isAhead).toEqual([true, false]);
  const shown = (await reading) ?? [];
  expect(shown).toHaveLength(1);
  expect(fieldOf('id', shown[0])).toBeUndefined();
  expect(await reader.frames()).toBeUndefined();
  const again = await follow(t, runId);
  const [chunk] = (await again.frames()) ?? [];
  expect(fieldOf('id', chunk)).toBe(`0~${lease.id}.1.1`);
  again.close();
});

test('output that nobody follows, or of more than a few bytes, is on disk before it is announced', async () => {
  await using t = await setupOutput();
  await t.start();
  const lease = await t.claimOne();
  const isAhead: boolean[] = [];
  const note = () => isAhead.push(t.hub.isAhead({ stepId: lease.id, seq: 1 }));
  await t.send(lease, chunkOf(lease, 1, 'one\n'));
  const unsubscribe = t.hub.onStep(lease.id, note);
  const large = { ...chunkOf(lease, 2, 'two\n'), bytes: Buffer.alloc(17 * 1024) };
  await t.send(lease, large);
  unsubscribe();
  expect(isAhead).toEqual([false]);
});
