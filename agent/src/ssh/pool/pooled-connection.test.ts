import { expect, onTestFinished, test, vi } from 'vitest';
import type { SshConnection } from '../connection.ts';
import { SshError } from '../ssh-error.ts';
import { PooledConnection } from './pooled-connection.ts';
import { Rush } from './rush.ts';

interface Channel {
  isOpen: boolean;
  close(): void;
}

async function setup({ isConnected = true, maxChannels = 2 } = {}) {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const rush = new Rush();
  let end = () => {};
  let established = (_: SshConnection) => {};
  const connecting = new Promise<SshConnection>((resolve) => {
    established = resolve;
  });
  const closed = new Promise<void>((resolve) => {
    end = resolve;
  });
  const connection = { open: true, closed, close: () => Object.assign(connection, { open: false }) };
  const connect = vi.fn((_: AbortSignal) => connecting);
  const onOver = vi.fn();
  const pooled = new PooledConnection({
    ...{ key: 'a', targetId: 1, maxChannels, idleMs: 60_000, seriesGapMs: 1_000 },
    ...{ rush, connect, onOver },
  });
  const establish = async () => {
    established(connection as unknown as SshConnection);
    await pooled.connecting;
  };
  if (isConnected) await establish();
  const opened: Channel[] = [];
  return {
    ...{ pooled, connection, connect, onOver, end, rush, opened, establish },
    start: async (): Promise<Channel> => {
      const channel = {
        isOpen: true,
        close: () => {
          channel.isOpen = false;
        },
      };
      opened.push(channel);
      return channel;
    },
  };
}

test('who opens it has a place, and others have one until all are taken', async () => {
  const { pooled } = await setup();
  expect(pooled.hasPlace).toBe(true);
  pooled.take();
  expect([pooled.channels, pooled.hasPlace]).toEqual([2, false]);
  pooled.release();
  pooled.limitTo(1);
  expect(pooled.hasPlace).toBe(false);
});

test('it is over once it was unused for its time, and not if a place was taken meanwhile', async () => {
  const { pooled, onOver } = await setup();
  pooled.release();
  expect(pooled.unusedSince).toBe(performance.now());
  vi.advanceTimersByTime(59_999);
  pooled.take();
  expect(pooled.unusedSince).toBeUndefined();
  vi.advanceTimersByTime(60_000);
  expect(onOver).not.toHaveBeenCalled();
  pooled.release();
  vi.advanceTimersByTime(60_000);
  expect(onOver).toHaveBeenCalledOnce();
});

test('it is over when the other side ends it, and when it could not be opened', async () => {
  const { pooled, connection, end, onOver } = await setup();
  end();
  await connection.closed;
  expect(onOver).toHaveBeenCalledOnce();
  expect(pooled.hasPlace).toBe(true);
  connection.close();
  expect(pooled.hasPlace).toBe(false);
  const failed = vi.fn();
  const other = new PooledConnection({
    ...{ key: 'a', targetId: 1, maxChannels: 2, idleMs: 60_000, seriesGapMs: 1_000, rush: new Rush() },
    ...{ connect: () => Promise.reject(new Error('refused')), onOver: failed },
  });
  await expect(other.connecting).rejects.toThrow('refused');
  expect(failed).toHaveBeenCalledOnce();
});

test('if nobody waits for it any more it is over before it is open, and is closed if it opens all the same', async () => {
  const { pooled, connection, connect, onOver, establish } = await setup({ isConnected: false });
  pooled.release();
  expect(onOver).toHaveBeenCalledOnce();
  pooled.close(new Error('not needed'));
  expect(connect.mock.calls[0]?.[0].reason).toEqual(new Error('not needed'));
  await establish();
  expect(connection.open).toBe(false);
});

test('a retired one is over with its last place, and keeps or opens no spare channel', async () => {
  const { pooled, onOver, start, opened } = await setup({ maxChannels: 3 });
  pooled.take();
  pooled.prepareNext(start, () => {});
  pooled.retire();
  pooled.prepareNext(start, () => {});
  pooled.release();
  expect(onOver).not.toHaveBeenCalled();
  pooled.release();
  expect(onOver).toHaveBeenCalledOnce();
  await vi.waitFor(() => expect(opened.map(({ isOpen }) => isOpen)).toEqual([false]), { timeout: 10_000 });
});

test('one that is unused when it is retired is over at once', async () => {
  const { pooled, onOver } = await setup();
  pooled.release();
  pooled.retire();
  expect(onOver).toHaveBeenCalledOnce();
});

test('a spare channel is handed over once, and only to whom it fits', async () => {
  const { pooled, start, opened } = await setup();
  pooled.prepareNext(start, () => {});
  expect([pooled.hasSpareFor(start, undefined), pooled.hasSpareFor(() => {}, undefined)]).toEqual([
    true,
    false,
  ]);
  expect([pooled.hasPlace, pooled.hasPlaceBesideSpares]).toEqual([true, false]);
  pooled.reserveSpare('ours', () => {});
  expect([pooled.hasReserved('ours'), pooled.hasReserved('theirs')]).toEqual([true, false]);
  expect(pooled.takeSpare(start, 'theirs')).toBeUndefined();
  const taken = pooled.takeSpare(start, 'ours');
  expect(taken?.isReserved).toBe(true);
  expect(await taken?.opening).toBe(opened[0]);
  expect(pooled.takeSpare(start, 'ours')).toBeUndefined();
});

test('several are kept for the requests that they are reserved for, and one more for any other', async () => {
  const { pooled, start, opened } = await setup({ maxChannels: 5 });
  for (const name of ['first', 'second']) {
    pooled.prepareNext(start, () => {});
    pooled.reserveSpare(name, () => {});
  }
  for (let n = 0; n < 2; n += 1) pooled.prepareNext(start, () => {});
  expect([opened.length, pooled.spares]).toEqual([3, 3]);
  expect([pooled.hasReserved('first'), pooled.hasReserved('second')]).toEqual([true, true]);
  expect(await pooled.takeSpare(start, 'second')?.opening).toBe(opened[1]);
  expect(await pooled.takeSpare(start, 'first')?.opening).toBe(opened[0]);
  expect(await pooled.takeSpare(start, 'third')?.opening).toBe(opened[2]);
});

test('if a request needs a place, the spare channel goes that is missed least', async () => {
  const { pooled, start, opened } = await setup({ maxChannels: 4 });
  for (const name of ['first', 'second']) {
    pooled.prepareNext(start, () => {});
    pooled.reserveSpare(name, () => {});
  }
  pooled.prepareNext(start, () => {});
  expect([pooled.hasPlace, pooled.hasPlaceBesideSpares]).toEqual([true, false]);
  for (let n = 0; n < 2; n += 1) pooled.dropSpare();
  await vi.waitFor(() => expect(opened.map(({ isOpen }) => isOpen)).toEqual([true, false, false]));
  expect([pooled.hasReserved('first'), pooled.hasReserved('second')]).toEqual([true, false]);
});

test('no spare channel is opened that would need a place that is not there', async () => {
  const { pooled, start, opened } = await setup({ maxChannels: 2 });
  pooled.prepareNext(start, () => {});
  pooled.reserveSpare('first', () => {});
  pooled.prepareNext(start, () => {});
  expect(opened).toHaveLength(1);
});

test('a spare channel may be opened in a way of its own', async () => {
  const { pooled, start, opened } = await setup();
  const own: Channel = { isOpen: true, close: () => {} };
  pooled.prepareNext(
    start,
    () => {},
    () => Promise.resolve(own),
  );
  expect(await pooled.takeSpare(start, undefined)?.opening).toBe(own);
  expect(opened).toEqual([]);
});

test('during a rush a spare channel waits, but not if one request followed another', async () => {
  const { pooled, start, opened, rush } = await setup();
  for (let n = 0; n < 9; n += 1) rush.arrive();
  pooled.prepareNext(start, () => {});
  expect(opened).toHaveLength(0);
  pooled.release();
  vi.advanceTimersByTime(50);
  pooled.take();
  pooled.prepareNext(start, () => {});
  expect(opened).toHaveLength(1);
});

test('closing it closes the spare channel, too, and none is opened afterwards', async () => {
  const { pooled, start, opened, connection } = await setup();
  pooled.prepareNext(start, () => {});
  pooled.close(new Error('closed'));
  expect(connection.open).toBe(false);
  await vi.waitFor(() => expect(opened[0]?.isOpen).toBe(false), { timeout: 10_000 });
  // The end of a real connection is known only once the other side has answered.
  connection.open = true;
  pooled.prepareNext(start, () => {});
  expect(opened).toHaveLength(1);
});

test('a spare channel that is refused beside others is not asked for beside as many again', async () => {
  const { pooled } = await setup({ maxChannels: 5 });
  pooled.take();
  const refuse = () => Promise.reject(new SshError({ reason: 'channel_refused', message: '', advice: '' }));
  const start = vi.fn(refuse);
  pooled.prepareNext(start, () => {});
  await vi.waitFor(() => expect(pooled.hasSpareFor(start, undefined)).toBe(false), { timeout: 10_000 });
  pooled.prepareNext(start, () => {});
  expect(start).toHaveBeenCalledOnce();
  pooled.release();
  pooled.prepareNext(start, () => {});
  expect(start).toHaveBeenCalledTimes(2);
});
