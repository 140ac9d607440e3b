// Targets whose disk has no room, or that limit the size of files: on a real sshd.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { accountTest } from '../ssh/sshd-setup.ts';
import { setupExec, TestSink } from '../steps/ssh-exec/ssh-exec-setup.ts';
import { childrenOf, read } from '../steps/ssh-exec/target-shells-setup.ts';

const survives = { survive_agent_restart: true };
const pageBytes = 4_096;
const mayMount = process.getuid?.() === 0 && spawnSync('unshare', ['--mount', 'true']).status === 0;
const roomTest = mayMount ? accountTest : test.skip;

/** Makes a home for the fixture's account on a disk of its own. */
function homeOn(disk: string): string {
  const home = mkdtempSync(join(tmpdir(), 'opsconductor-room-'));
  execFileSync('mount', ['-t', 'tmpfs', '-o', `${disk},mode=700,uid=20001`, 'none', home]);
  onTestFinished(() => {
    execFileSync('umount', ['-l', home]);
    rmSync(home, { recursive: true });
  });
  return home;
}

/** Makes one with room for this many small files. */
function homeWithRoomFor(pages: number): string {
  const home = homeOn('size=1m');
  const taken = (1024 * 1024) / pageBytes - pages;
  execFileSync('dd', ['if=/dev/zero', `of=${home}/others`, `bs=${pageBytes}`, `count=${taken}`], {
    stdio: 'ignore',
  });
  return home;
}

roomTest.each([0, 6, 10, 14, 16, 18, 20, 24, 32])(
  'with room for %i small files, a command is either not started, or its end is known, and what found room of its output',
  async (pages) => {
    const home = homeWithRoomFor(pages);
    const t = await setupExec({ config: [`ForceCommand HOME=${home}; eval "$SSH_ORIGINAL_COMMAND"`] });
    const command = 'echo ran >/dev/shm/$OPSCONDUCTOR_ATTEMPT; seq 1 40000; exit 3';
    const marker = `room.${process.pid}.${pages}`;
    onTestFinished(() => rmSync(join('/dev/shm', marker), { force: true }));
    const outcome = await t.run({ ...survives, command }, { marker });
    const hasRun = readdirSync('/dev/shm').includes(marker);
    if (outcome.reason === 'no_supervisor') {
      expect([hasRun, t.sink.stdout]).toEqual([false, '']);
      expect(outcome.message).toContain('its disk takes no files');
      return;
    }
    expect([hasRun, outcome.exitCode]).toEqual([true, 3]);
    expect(outcome.message).toContain('The rest of the output is lost');
    const whole = Array.from({ length: 40_000 }, (_, n) => `${n + 1}\n`).join('');
    expect(whole.startsWith(t.sink.stdout)).toBe(true);
  },
);

roomTest('another agent takes a command over whose disk takes no more files', async () => {
  const home = homeOn('size=1m,nr_inodes=40');
  const t = await setupExec({ config: [`ForceCommand HOME=${home}; eval "$SSH_ORIGINAL_COMMAND"`] });
  const gate = join(home, 'gate');
  execFileSync('mkfifo', ['-m', '666', gate]);
  const marker = `files.${process.pid}.1`;
  const config = { ...survives, command: 'echo out; cat gate; exit 3' };
  const first = t.run(config, { marker });
  await t.sink.seen(/out\n/);
  await t.warm.close();
  await first;
  const fill = `n=0; while true >${home}/file$n; do n=$((n + 1)); done`;
  execFileSync('sh', ['-c', `{ ${fill}; } 2>/dev/null; true`]);
  const second = new TestSink();
  second.written.stdout = t.sink.written.stdout;
  const again = t.reattach(config, { marker, output: second, collector: 1 });
  execFileSync('sh', ['-c', `echo go >${gate}`]);
  expect(await again).toMatchObject({ exitCode: 3 });
  expect(second.stdout).toBe('go\n');
  const place = join(home, '.opsconductor/attempts', marker);
  expect(readdirSync(place)).toContain('collector.1');
});

accountTest(
  'a target that allows no files at all runs a command without a supervisor, or says so at once',
  async () => {
    const config = ['ForceCommand ulimit -f 0; eval "$SSH_ORIGINAL_COMMAND"'];
    const t = await setupExec({ config });
    expect(await t.run({ ...survives, command: 'exit 3' })).toMatchObject({ reason: 'no_supervisor' });
    expect(await t.run({ command: 'exit 3' })).toMatchObject({ reason: 'exit_code', exitCode: 3 });
  },
);

accountTest('a limit on files ends what exceeds it, as after any login', async () => {
  const t = await setupExec({ config: ['ForceCommand ulimit -f 64; eval "$SSH_ORIGINAL_COMMAND"'] });
  await t.run({ ...survives, command: 'ulimit -f; head -c 100000 /dev/zero >big; echo $?' });
  expect(t.sink.stdout).toBe('64\n153\n');
});

accountTest('a command whose output nothing keeps any more has the end that was recorded', async () => {
  const t = await setupExec();
  const gate = join(t.sshd.dir, 'home/gate');
  execFileSync('mkfifo', ['-m', '666', gate]);
  const marker = `kept.${process.pid}.1`;
  const running = t.run({ ...survives, command: 'echo out; cat "$HOME/gate"; exit 3' }, { marker });
  await t.sink.seen(/out\n/);
  const place = join(t.sshd.dir, 'home/.opsconductor/attempts', marker);
  const supervisor = Number(read(join(place, 'super')).split(' ')[0]);
  // The shells that keep the streams, and then what they have started, which they could not tell from a full disk.
  const shells = childrenOf(supervisor).filter((pid) => read(`/proc/${pid}/cmdline`).includes('supervisor'));
  expect(shells.length).toBeGreaterThan(1);
  // Stopped, so that none of them starts anything meanwhile.
  for (const pid of shells) process.kill(pid, 'SIGSTOP');
  await expect.poll(() => shells.every((pid) => /^State:\s+T/m.test(read(`/proc/${pid}/status`)))).toBe(true);
  const others = shells.flatMap(childrenOf);
  // One of them may be a short sleep that is over by itself.
  execFileSync('sh', ['-c', `kill -9 ${[...shells, ...others].join(' ')} 2>/dev/null || true`]);
  execFileSync('sh', ['-c', `echo go >${gate}`]);
  const outcome = await running;
  expect(outcome).toMatchObject({
    exitCode: 3,
    message: expect.stringContaining('The rest of the output is lost'),
  });
  expect(t.sink.stdout).toBe('out\n');
});
