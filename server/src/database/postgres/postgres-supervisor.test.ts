import { expect, onTestFinished, test, vi } from 'vitest';
import { PostgresSupervisor } from './postgres-supervisor.ts';
import type { Postmaster, PostmasterContext } from './postmaster.ts';

const lost: Postmaster = { pid: 1, port: 5, ended: Promise.resolve('signal SIGABRT') };

/** Supervises a postmaster that has ended. Only the starts with these numbers succeed, and each of those ends again. */
function supervise({
  comesBack,
  freeBytes = () => 1024 ** 3,
  lifeMs = 0,
}: {
  comesBack: (start: number) => boolean;
  freeBytes?: (starts: number) => number;
  lifeMs?: number;
}) {
  const messages: string[] = [];
  const context = {
    log: (message: string) => messages.push(message),
    home: '/data',
    cluster: { directory: '/data/cluster' },
  } as unknown as PostmasterContext;
  const pauses: number[] = [];
  let starts = 0;
  let clockMs = 0;
  const supervisor = new PostgresSupervisor(context, lost, {
    async start() {
      starts += 1;
      if (!comesBack(starts)) throw new Error('it ends at once');
      return lost;
    },
    freeBytes: async () => freeBytes(starts),
    pause: async (ms) => {
      pauses.push(ms);
    },
    nowMs: () => {
      clockMs += lifeMs;
      return clockMs;
    },
  });
  return { supervisor, messages, pauses, starts: () => starts };
}

test('a postmaster that ends because its disk is full is started again once there is room', async () => {
  let looks = 0;
  // Longer than restarts would be tried for any other reason.
  const t = supervise({
    comesBack: (start) => start === 2,
    freeBytes: () => {
      looks += 1;
      return looks === 1 || looks > 100 ? 1024 ** 3 : 4096;
    },
  });
  expect(await t.supervisor.exited).toEqual({ expected: false, reason: 'it ends at once' });
  expect(t.messages.slice(1, 4)).toEqual([
    'PostgreSQL could not be started again: it ends at once',
    'The disk of /data is full: PostgreSQL is started again once there is room',
    'PostgreSQL runs again on port 5 (process id 1)',
  ]);
});

test('a postmaster that fills its disk again and again is not given up', async () => {
  let looks = 0;
  const t = supervise({
    // After each of the twenty times that it ends because the disk is full, some room is made.
    comesBack: (start) => start <= 20,
    freeBytes: () => {
      looks += 1;
      return looks > 40 || looks % 2 === 0 ? 1024 ** 3 : 4096;
    },
  });
  expect(await t.supervisor.exited).toEqual({ expected: false, reason: 'it ends at once' });
  expect(t.starts()).toBeGreaterThan(20);
});

test('a postmaster that becomes ready each time is started again however often it ends, after ever longer pauses', async () => {
  const warned = vi.spyOn(process, 'emitWarning');
  onTestFinished(() => warned.mockRestore());
  const t = supervise({ comesBack: (start) => start <= 30 });
  await t.supervisor.exited;
  // No life leaves a listener behind.
  expect(warned).not.toHaveBeenCalled();
  expect(t.starts()).toBe(36);
  expect(t.pauses.slice(0, 8)).toEqual([0, 200, 500, 1_000, 2_000, 5_000, 5_000, 5_000]);
  expect(t.messages.slice(-15, -13)).toEqual([
    'PostgreSQL is started again in 5 s',
    'PostgreSQL runs again on port 5 (process id 1)',
  ]);
});

test('a postmaster that ends after a minute or more is started again at once', async () => {
  const t = supervise({ comesBack: (start) => start <= 10, lifeMs: 60_001 });
  await t.supervisor.exited;
  expect(t.pauses.slice(0, 11)).toEqual(Array.from({ length: 11 }, () => 0));
});

test('a postmaster that does not come back although its disk has room is given up', async () => {
  const t = supervise({ comesBack: () => false });
  expect(await t.supervisor.exited).toEqual({ expected: false, reason: 'it ends at once' });
  expect(t.starts()).toBe(6);
});
