import { utimesSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { describeProcess, takeServerLock } from './server-lock.ts';

async function setup() {
  const folder = await mkdtemp(join(tmpdir(), 'server-lock-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, 'server.lock.7');
  const messages: string[] = [];
  return {
    path,
    folder,
    own: await describeProcess(process.pid),
    hold: (holder: object) => writeFile(path, JSON.stringify(holder)),
    messages,
    async take({ silentAfterMs = 600, whenWaiting = () => {} } = {}) {
      const log = (message: string) => {
        messages.push(message);
        whenWaiting();
      };
      const lock = await takeServerLock(folder, log, silentAfterMs);
      onTestFinished(() => lock.release());
      return lock;
    },
  };
}

test('a lock is held until it is released, and lock files do not pile up', async () => {
  const t = await setup();
  const lock = await t.take();
  await expect(t.take()).rejects.toThrow(`process id ${process.pid}`);
  await lock.release();
  await (await t.take()).release();
  expect(await readdir(t.folder)).toEqual(['server.lock.2']);
});

test('of many processes that find a stale lock, only one takes it', async () => {
  const t = await setup();
  await t.hold({ ...t.own, startedAt: '1' });
  const results = await Promise.allSettled(Array.from({ length: 20 }, () => t.take()));
  expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
});

test('a reused process id does not hold the lock', async () => {
  const t = await setup();
  await t.hold({ ...t.own, startedAt: '1' });
  await t.take();
  expect(JSON.parse(await readFile(join(t.folder, 'server.lock.8'), 'utf8'))).toEqual(t.own);
});

test('a lock file truncated by a power loss is taken over', async () => {
  const t = await setup();
  await writeFile(t.path, '{"pid":');
  await t.take();
});

test('a lock from another container is taken over only when nobody touches it', async () => {
  const t = await setup();
  await t.hold({ ...t.own, realm: 'elsewhere' });
  let touches = 0;
  const touch = () => {
    touches += 1;
    utimesSync(t.path, touches, touches);
  };
  await expect(t.take({ whenWaiting: touch })).rejects.toThrow(/Another server process/);
  await t.take();
});

test('a process that stood still while it waited for a lock sees that it was touched meanwhile', async () => {
  const t = await setup();
  await t.hold({ ...t.own, realm: 'elsewhere' });
  // It stands still after its first look, just before it looks at the clock again.
  const clock = vi.spyOn(performance, 'now').mockReturnValueOnce(0).mockReturnValueOnce(0);
  onTestFinished(() => clock.mockRestore());
  clock.mockImplementation(() => {
    utimesSync(t.path, 1, 1);
    return 1_000;
  });
  await expect(t.take()).rejects.toThrow(/Another server process/);
  expect(clock.mock.calls.length).toBeGreaterThan(2);
});

test('a process that lost the lock does not release it for the new holder', async () => {
  const t = await setup();
  const lock = await t.take();
  const path = join(t.folder, 'server.lock.1');
  await writeFile(path, JSON.stringify({ ...t.own, realm: 'elsewhere' }));
  await lock.release();
  expect(JSON.parse(await readFile(path, 'utf8')).realm).toBe('elsewhere');
});

test('a lock that became a link causes nothing outside of the folder to be truncated', async () => {
  const t = await setup();
  const lock = await t.take();
  const path = join(t.folder, 'server.lock.1');
  const linked = join(t.folder, 'linked');
  await rename(path, linked);
  await symlink(linked, path);
  await lock.release();
  expect(JSON.parse(await readFile(linked, 'utf8'))).toEqual(t.own);
  expect(t.messages.at(-1)).toMatch(/server\.lock\.1 can't be released: .*ELOOP/);
});

test('a lock that can’t be released is reported, and nothing fails because of it', async () => {
  const t = await setup();
  const lock = await t.take();
  const path = join(t.folder, 'server.lock.1');
  await rm(path);
  await mkdir(path);
  await lock.release();
  expect(t.messages.at(-1)).toMatch(/server\.lock\.1 can't be released: .* The next start takes it over\./);
});
