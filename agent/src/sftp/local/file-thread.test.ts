import { mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { FileThread } from './file-thread.ts';

async function setUpDirectory() {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const path = await mkdtemp(join(tmpdir(), 'opsconductor-thread-'));
  await writeFile(join(path, 'f'), 'text');
  const handle = await open(path, 'r');
  onTestFinished(async () => {
    vi.advanceTimersByTime(1_000_000);
    vi.useRealTimers();
    await handle.close();
    await rm(path, { recursive: true });
  });
  return { look: (thread: FileThread) => thread.ask({ do: 'look', fd: handle.fd, names: ['f'] }) };
}

test('a thread that nobody needs is kept for the next transfer, but not for ever', async () => {
  const { look } = await setUpDirectory();
  const first = FileThread.take();
  first.release();
  vi.advanceTimersByTime(59_000);
  const second = FileThread.take();
  expect(second).toBe(first);
  expect(await look(second)).toMatchObject({ did: 'look', files: [{ size: 4 }] });
  second.release();
  vi.advanceTimersByTime(60_000);
  const third = FileThread.take();
  expect(third).not.toBe(first);
  expect(await look(third)).toMatchObject({ did: 'look' });
  third.release();
});

test('a thread that another transfer uses does not end', async () => {
  const { look } = await setUpDirectory();
  const [first, second] = [FileThread.take(), FileThread.take()];
  first.release();
  vi.advanceTimersByTime(1_000_000);
  expect(await look(second)).toMatchObject({ did: 'look', files: [{ size: 4 }] });
  second.release();
});

test('a thread whose work was given up is ended at once', async () => {
  const { look } = await setUpDirectory();
  const first = FileThread.take();
  const looking = look(first);
  first.release();
  expect(await looking).toBeUndefined();
  const second = FileThread.take();
  expect(second).not.toBe(first);
  second.release();
});
