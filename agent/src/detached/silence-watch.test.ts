import { expect, onTestFinished, test } from 'vitest';
import { accountTest } from '../ssh/sshd-setup.ts';
import { setupExec } from '../steps/ssh-exec/ssh-exec-setup.ts';
import { SilenceWatch, silentAfterMs } from './silence-watch.ts';

function setup({ wasReported = false } = {}) {
  const clock = { ms: 1_000 };
  const connection = { heardAtMs: 1_000 };
  const reports: (number | undefined)[] = [];
  const watch = new SilenceWatch({
    ...{ limitMs: 20_000, wasReported, now: () => clock.ms },
    report: (heardAtMs) => reports.push(heardAtMs),
  });
  onTestFinished(() => watch.close());
  const lookAt = (ms: number) => {
    clock.ms = ms;
    watch.look();
  };
  return { clock, connection, reports, watch, lookAt };
}

test('a target from which nothing came is reported once, with when it was last heard, and once it answers', () => {
  const t = setup();
  t.watch.follow(t.connection);
  t.connection.heardAtMs = 5_000;
  for (const ms of [6_000, 25_000]) t.lookAt(ms);
  expect(t.reports).toEqual([]);
  for (const ms of [25_001, 25_002, 25_003]) t.lookAt(ms);
  expect(t.reports).toEqual([5_000]);
  t.connection.heardAtMs = 30_000;
  for (const ms of [30_001, 30_002]) t.lookAt(ms);
  expect(t.reports).toEqual([5_000, undefined]);
});

test('a single late look is not believed: this process may have stood still', () => {
  const t = setup();
  t.watch.follow(t.connection);
  t.lookAt(60_000);
  t.connection.heardAtMs = 60_001;
  for (const ms of [60_002, 60_003]) t.lookAt(ms);
  expect(t.reports).toEqual([]);
});

test('a target that answers on another connection answers', () => {
  const t = setup();
  for (const ms of [30_000, 30_001]) t.lookAt(ms);
  t.clock.ms = 31_000;
  t.watch.follow({ heardAtMs: 31_000 });
  expect(t.reports).toEqual([1_000, undefined]);
});

test('what an earlier process may have reported is taken back by the first answer', () => {
  const t = setup({ wasReported: true });
  t.watch.follow(t.connection);
  t.watch.follow(t.connection);
  expect(t.reports).toEqual([undefined]);
});

test('the limit leaves a probe of the connection time to be answered', () => {
  expect(silentAfterMs({})).toBe(20_000);
  expect(silentAfterMs({ keepaliveIntervalS: 60 })).toBe(65_000);
});

accountTest(
  'a command that survives its agent tells that its target hangs, and that it answers again',
  async () => {
    const t = await setupExec();
    const said: ('silent' | 'answers')[] = [];
    const told = (what: 'silent' | 'answers') =>
      new Promise<void>((resolve) => waiting.push({ what, resolve }));
    const waiting: { what: string; resolve: () => void }[] = [];
    const running = t.run(
      { command: 'echo begun; while [ ! -e "$HOME/go" ]; do sleep 0.1; done', survive_agent_restart: true },
      {
        target: { ...t.target, keepaliveIntervalS: 1 },
        targetSilence: (heardAtMs) => {
          said.push(heardAtMs === undefined ? 'answers' : 'silent');
          for (const each of waiting) if (each.what === said.at(-1)) each.resolve();
        },
      },
    );
    await t.sink.seen(/begun/);
    const silent = told('silent');
    const stopped = t.sshd.suspend();
    await silent;
    const answers = told('answers');
    for (const pid of stopped) process.kill(pid, 'SIGCONT');
    await answers;
    await t.run({ command: 'touch "$HOME/go"' });
    expect(await running).toMatchObject({ status: 'succeeded', exitCode: 0 });
    expect(said).toEqual(['silent', 'answers']);
  },
);
