import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type StreamReader, StreamTurns } from './stream-turns.ts';

const mebibyte = 1024 * 1024;

/** Makes readers, which record whether they were cut off. */
function readers(turns: StreamTurns, count: number) {
  return Array.from({ length: count }, () => {
    const reader = {
      isCut: false,
      cutOff() {
        reader.isCut = true;
      },
      leave: () => {},
    };
    reader.leave = turns.join(reader);
    return reader;
  });
}

/** Returns the readers that have begun to pull, of those that asked. */
function asking(turns: StreamTurns, all: readonly StreamReader[]): Set<StreamReader> {
  const served = new Set<StreamReader>();
  for (const reader of all) void turns.take(reader).then(() => served.add(reader));
  return served;
}

async function someTurns(): Promise<void> {
  for (let n = 0; n < 20; n += 1) await nextTurn();
}

test('of many readers some are served at a time, in the order in which they came, with everything else in between', async () => {
  const turns = new StreamTurns({ maxHeldBytes: 100 * mebibyte });
  const all = readers(turns, 20);
  const served = asking(turns, all);
  const counts: number[] = [];
  while (served.size < 20) {
    await nextTurn();
    counts.push(served.size);
  }
  expect([...served]).toEqual(all);
  // The first eight at once, before anything else had its turn.
  expect(counts).toEqual([16, 20]);
});

test('the more readers there are, the less each pulls at once', () => {
  const turns = new StreamTurns({ maxHeldBytes: 16 * mebibyte });
  const all = readers(turns, 500);
  expect(500 * turns.pullRawBytes).toBeLessThanOrEqual(16 * mebibyte);
  for (const { leave } of all) leave();
  expect(turns.pullRawBytes).toBe(mebibyte);
});

test('a reader for whom there is no room waits until others take theirs or leave, and nobody is cut off', async () => {
  const turns = new StreamTurns({ maxHeldBytes: 12 * mebibyte, stalledMs: 600_000 });
  const all = readers(turns, 12);
  const served = asking(turns, all);
  await someTurns();
  const first = [...served];
  expect(first.length).toBeGreaterThan(1);
  expect(served.size).toBeLessThan(12);
  expect(turns.heldBytes).toBeLessThanOrEqual(12 * mebibyte);
  // A pull that came to nothing makes room for the next at once.
  for (const reader of first) turns.handed(reader, 0);
  await someTurns();
  expect(served.size).toBe(2 * first.length);
  const [taker, leaver, ...silent] = [...served].slice(first.length);
  for (const reader of [taker, leaver, ...silent]) turns.handed(reader as StreamReader, 3 * mebibyte);
  await someTurns();
  const before = served.size;
  turns.taken(taker as StreamReader);
  all.find((reader) => reader === leaver)?.leave();
  await someTurns();
  expect(served.size).toBeGreaterThan(before);
  expect(turns.heldBytes).toBeLessThanOrEqual(12 * mebibyte);
  expect(all.some(({ isCut }) => isCut)).toBe(false);
});

describe('when time passes', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const settings = { maxHeldBytes: 4 * mebibyte, stalledMs: 500, patienceMs: 10_000 };

  function three(turns: StreamTurns) {
    const [silent, busy, other] = readers(turns, 3);
    if (silent === undefined || busy === undefined || other === undefined) throw new Error('three were made');
    return { silent, busy, other };
  }

  async function pull(turns: StreamTurns, reader: StreamReader, bytes = mebibyte): Promise<void> {
    await turns.take(reader);
    turns.handed(reader, bytes);
  }

  test('if readers wait and nobody takes anything, those that hold something are cut off soon', async () => {
    const turns = new StreamTurns(settings);
    const { silent, other } = three(turns);
    await pull(turns, silent);
    const pulled = pull(turns, other);
    vi.advanceTimersByTime(499);
    expect(silent.isCut).toBe(false);
    vi.advanceTimersByTime(300);
    await pulled;
    expect([silent.isCut, other.isCut]).toEqual([true, false]);
    expect(turns.heldBytes).toBe(mebibyte);
  });

  test('if others wait briefly but take theirs, a reader that takes nothing is cut off after a long time', async () => {
    const turns = new StreamTurns(settings);
    const { silent, busy, other } = three(turns);
    await pull(turns, silent, 0.3 * mebibyte);
    await pull(turns, busy, 0.3 * mebibyte);
    let [holds, waits] = [busy, other];
    const goOn = async (ms: number) => {
      for (let passed = 0; passed < ms; passed += 100) {
        const pulled = pull(turns, waits, 0.3 * mebibyte);
        vi.advanceTimersByTime(100);
        turns.taken(holds);
        await pulled;
        [holds, waits] = [waits, holds];
      }
    };
    await goOn(9_900);
    expect(silent.isCut).toBe(false);
    await goOn(600);
    expect([silent.isCut, busy.isCut, other.isCut]).toEqual([true, false, false]);
  });

  test('a reader that takes nothing is left alone while nobody waits', async () => {
    const turns = new StreamTurns(settings);
    const { silent } = three(turns);
    await pull(turns, silent);
    vi.advanceTimersByTime(600_000);
    expect(silent.isCut).toBe(false);
  });
});

test('a reader that leaves while it waits or pulls holds nothing', async () => {
  const turns = new StreamTurns({ maxHeldBytes: mebibyte });
  const [pulling, waiting] = readers(turns, 2);
  if (pulling === undefined || waiting === undefined) throw new Error('two were made');
  await turns.take(pulling);
  const waited = turns.take(waiting);
  waiting.leave();
  await waited;
  pulling.leave();
  turns.handed(pulling, mebibyte);
  turns.handed(waiting, mebibyte);
  expect(turns.heldBytes).toBe(0);
});
