import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { answerHeldBytes } from './held-bytes.ts';

test.each([10, 64 * 1024, 200_000])(
  '%i bytes arrive unchanged, with their length in a header',
  async (length) => {
    const bytes = Uint8Array.from({ length }).map((_, at) => at % 251);
    const answer = answerHeldBytes(bytes, { ETag: '"x"' });
    expect(answer.headers.get('etag')).toBe('"x"');
    expect(Buffer.from(await answer.arrayBuffer()).equals(bytes)).toBe(true);
  },
);

test('a client that does not read a large answer is given at most one piece of it', async () => {
  const bytes = new Uint8Array(1_000_000);
  const answer = answerHeldBytes(bytes, {});
  expect(answer.headers.get('content-length')).toBe('1000000');
  const { value } = (await answer.body?.getReader().read()) ?? {};
  expect(value?.byteLength).toBe(65_536);
  expect(value?.buffer).toBe(bytes.buffer);
});

test('other work gets a turn between the pieces of an answer that is read at full speed', async () => {
  const answer = answerHeldBytes(new Uint8Array(1_000_000), {});
  let turns = 0;
  let isTaken = false;
  const others = (async () => {
    for (; !isTaken; turns++) await setImmediate();
  })();
  await answer.arrayBuffer();
  isTaken = true;
  await others;
  expect(turns).toBeGreaterThan(10);
});

test('a hundred answers that are read at full speed are given only a few pieces per turn', async () => {
  const readers = Array.from({ length: 100 }, () =>
    answerHeldBytes(new Uint8Array(1_000_000), {}).body?.getReader(),
  );
  let pieces = 0;
  const taking = readers.map(async (reader) => {
    while ((await reader?.read())?.done === false) pieces += 1;
  });
  await setImmediate();
  // The first piece of each answer arrived with its headers.
  let most = 0;
  for (let turn = 0; turn < 20; turn += 1) {
    const before = pieces;
    await setImmediate();
    most = Math.max(most, pieces - before);
  }
  expect(most).toBeGreaterThan(0);
  expect(most).toBeLessThanOrEqual(16);
  await Promise.all(taking);
  expect(pieces).toBe(1_600);
});
