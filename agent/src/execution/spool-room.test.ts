import { pino } from 'pino';
import { expect, test, vi } from 'vitest';
import type { AttemptOutput } from '../spool/attempt-output.ts';
import { SpoolRoom } from './spool-room.ts';

function setup(...outputs: { unackedBytes: number; forgotten?: boolean; release(): Promise<number> }[]) {
  let isConnected = true;
  const attempts = outputs.map(({ forgotten = false, ...output }, at) => ({
    step: at + 1,
    epoch: 1,
    forgotten,
    output: { ...output, awaitsConfirmation: output.unackedBytes > 0 } as unknown as AttemptOutput,
  }));
  const room = new SpoolRoom({
    attempts,
    isConnected: () => isConnected,
    log: pino({ level: 'silent' }),
  });
  return {
    room,
    attempts,
    disconnect() {
      isConnected = false;
      room.confirmedOrGone();
    },
  };
}

/** An output of which so much can be removed. */
const output = (freed: number, unackedBytes = 0) => ({ unackedBytes, release: vi.fn(async () => freed) });

test('room is made with what all attempts have confirmed', async () => {
  const { room } = setup(output(0, 10), output(5), output(7));
  expect(await room.release()).toBe(12);
  expect(await room.makeRoom()).toBe(true);
});

test('those who need room at the same time remove everything once', async () => {
  const one = output(5);
  const { room } = setup(one);
  expect(await Promise.all([room.release(), room.makeRoom(), room.release()])).toEqual([5, true, 5]);
  expect(one.release).toHaveBeenCalledTimes(1);
});

test('an attempt whose output can’t be removed keeps no other from making room', async () => {
  const { room } = setup({ unackedBytes: 0, release: () => Promise.reject(new Error('EIO')) }, output(3));
  expect(await room.release()).toBe(3);
});

test.each(['a confirmation', 'the end of the connection'])(
  'a command whose output does not fit waits for %s',
  async (event) => {
    const { room, disconnect } = setup(output(0, 10));
    let isMade: boolean | undefined;
    const made = room.makeRoom().then((answer) => {
      isMade = answer;
    });
    await new Promise(setImmediate);
    expect(isMade).toBeUndefined();
    if (event === 'a confirmation') room.confirmedOrGone();
    else disconnect();
    await made;
    expect(isMade).toBe(true);
    if (event !== 'a confirmation') expect(await room.makeRoom()).toBe(false);
  },
);

test('what is confirmed while room is made makes it worth trying again', async () => {
  const one = output(0);
  const { room } = setup(one);
  one.release.mockImplementationOnce(async () => {
    room.confirmedOrGone();
    return 0;
  });
  expect(await room.makeRoom()).toBe(true);
  expect(await room.makeRoom()).toBe(false);
});

test('no room can be made if the server has everything already', async () => {
  const { room } = setup(output(0));
  expect(await room.makeRoom()).toBe(false);
});

test('nobody waits for the confirmation of what the server has forgotten', async () => {
  const { room } = setup({ ...output(0, 10), forgotten: true });
  expect(await room.makeRoom()).toBe(false);
});

test('a command waits for the output of a settled attempt to be removed, and then for nothing', async () => {
  const { room, attempts } = setup(output(0, 10));
  const made = room.makeRoom();
  await new Promise(setImmediate);
  attempts.length = 0;
  let isRemoved: () => void = () => undefined;
  const settled = room.settled(new Promise((resolve) => (isRemoved = resolve)));
  expect(await made).toBe(true);
  const next = room.makeRoom();
  await new Promise(setImmediate);
  isRemoved();
  expect(await next).toBe(true);
  await settled;
  expect(await room.makeRoom()).toBe(false);
});
