import { expect, test } from 'vitest';
import { readInTurns } from './read-in-turns.ts';

/** Downloads whose reads begin in `began`, by user, and end by `endFirst`. */
function setup() {
  const began: number[] = [];
  const ends: (() => void)[] = [];
  async function* pieces(userId: number): AsyncGenerator<string> {
    for (let n = 0; n < 2; n += 1) {
      began.push(userId);
      await new Promise<void>((resolve) => ends.push(resolve));
      yield `piece ${n}`;
    }
  }
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  return {
    began,
    settled,
    async download(userId: number): Promise<string[]> {
      const got: string[] = [];
      for await (const piece of readInTurns(userId, pieces(userId))) got.push(piece);
      return got;
    },
    async endFirst() {
      ends.shift()?.();
      await settled();
    },
  };
}

test('a user with one download reads among another user’s many', async () => {
  const t = setup();
  const many = Array.from({ length: 30 }, () => t.download(1));
  await t.settled();
  expect(t.began).toEqual([1, 1, 1]);
  const one = t.download(2);
  await t.endFirst();
  await t.endFirst();
  expect(t.began).toContain(2);
  expect(t.began.length).toBeLessThanOrEqual(5);
  let isDone = false;
  const all = Promise.all([one, ...many]).finally(() => {
    isDone = true;
  });
  while (!isDone) await t.endFirst();
  expect(await all).toEqual(Array.from({ length: 31 }, () => ['piece 0', 'piece 1']));
});

test('a download that is given up or fails leaves its turn to others', async () => {
  async function* failing(): AsyncGenerator<string> {
    yield 'begin';
    throw new Error('the database is away');
  }
  for (let n = 0; n < 5; n += 1) {
    const pieces = readInTurns(1, failing());
    expect(await pieces.next()).toEqual({ done: false, value: 'begin' });
    if (n % 2 === 0) await pieces.return(undefined);
    else await expect(pieces.next()).rejects.toThrow('the database is away');
  }
  const left = readInTurns(2, failing());
  expect((await left.next()).value).toBe('begin');
  await left.return(undefined);
});
