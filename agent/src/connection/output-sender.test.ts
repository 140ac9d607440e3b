import { expect, test } from 'vitest';
import type { AttemptOutput } from '../spool/attempt-output.ts';
import type { MessageSocket } from './message-socket.ts';
import { OutputSender } from './output-sender.ts';

/** Frames of given sizes, identified by the attempt. */
function source(name: string, sizes: number[], fromDisk = false) {
  const left = [...sizes];
  const output = {
    name,
    get hasUnsent() {
      return left.length > 0;
    },
    get nextFrameBytes() {
      return left[0] ?? 0;
    },
    takeFrame() {
      const frame = Buffer.alloc(left.shift() ?? 0, name);
      return fromDisk ? Promise.resolve(frame) : frame;
    },
  };
  return output as unknown as AttemptOutput;
}

function setup(windowBytes: number) {
  const sent: string[] = [];
  const caughtUp: string[] = [];
  const socket = { open: true, bufferedBytes: 0 };
  const written: (() => void)[] = [];
  const sender = new OutputSender({
    socket: {
      cork: () => undefined,
      uncork: () => undefined,
      get open() {
        return socket.open;
      },
      get bufferedBytes() {
        return socket.bufferedBytes;
      },
      sendFrame(frame: Buffer, onWritten: () => void) {
        sent.push(`${String.fromCharCode(frame[0] ?? 0)}${frame.length}`);
        written.push(onWritten);
      },
    } as unknown as MessageSocket,
    onCaughtUp: (output) => caughtUp.push((output as unknown as { name: string }).name),
    onReadFailure: () => undefined,
    windowBytes,
  });
  return { sender, sent, caughtUp, socket, written };
}

test('attempts take turns, one frame each', () => {
  // With a window this small, a frame goes only when nothing is unacknowledged.
  const { sender, sent } = setup(0);
  sender.offer(source('a', [1, 2, 3]));
  sender.offer(source('b', [4, 5]));
  for (const acknowledged of [1, 2, 4, 3]) sender.release(acknowledged);
  expect(sent).toEqual(['a1', 'a2', 'b4', 'a3', 'b5']);
});

test('an attempt with nothing to send is told so at once', () => {
  const { sender, sent, caughtUp } = setup(1_000);
  sender.offer(source('b', []));
  expect([sent, caughtUp]).toEqual([[], ['b']]);
});

test('no more than the window is unacknowledged', () => {
  const { sender, sent, caughtUp } = setup(10);
  sender.offer(source('a', [4, 4, 4]));
  sender.offer(source('b', [4]));
  expect(sent).toEqual(['a4', 'a4']);
  sender.release(4);
  expect(sent).toEqual(['a4', 'a4', 'a4']);
  sender.release(8);
  expect(sent).toEqual(['a4', 'a4', 'a4', 'b4']);
  expect(caughtUp).toEqual(['a', 'b']);
});

test('the sender waits for a full socket', () => {
  const { sender, sent, socket, written } = setup(1_000);
  sender.offer(source('a', [1]));
  socket.bufferedBytes = 2 * 1024 * 1024;
  sender.offer(source('b', [1]));
  expect(sent).toEqual(['a1']);
  socket.bufferedBytes = 0;
  written[0]?.();
  expect(sent).toEqual(['a1', 'b1']);
});

test('frames that are read back from disk keep their order', async () => {
  const { sender, sent, caughtUp } = setup(1_000);
  sender.offer(source('a', [1, 2, 3], true));
  await expect.poll(() => caughtUp).toEqual(['a']);
  expect(sent).toEqual(['a1', 'a2', 'a3']);
});
