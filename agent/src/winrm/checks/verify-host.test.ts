import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { powershellBootstrap } from '@opsconductor/protocol';
import { expect } from 'vitest';
import { withoutPool } from '../connection/pool.ts';
import { fileServer } from '../files/file-server.ts';
import { cmdRunner } from '../powershell/powershell.ts';
import { taskProgram, taskSupervisor } from '../tasks/task-program.ts';
import { isSoundPowershell } from '../testing/powershell-tree.ts';
import { hostOfFile, optionsFor, winrmTest } from '../testing/winrm-setup.ts';
import { versionQuestion } from './test-host.ts';
import { endless, trials, type Verified, verifyHost, whoAmI } from './verify-host.ts';

// What a Windows host would do, written for /bin/sh, in the order of the trials; the last one is the one that is
// stopped.
const onWindows = [
  'printf "%s\\r\\n" "$OPSVERIFY_1"',
  'printf "ä€𝄞\\r\\n"',
  'true',
  'exit 7',
  'echo 4294967295 > $FIXTURE_EXIT',
  'echo 3010 > $FIXTURE_EXIT',
  'echo 3221225477 > $FIXTURE_EXIT',
  'printf "#< CLIXML\\r\\n<Objs xmlns=\\"urn:x\\"><S S=\\"Error\\">it went wrong_x000D__x000A_</S></Objs>" >&2; exit 1',
  'printf "#< CLIXML\\r\\n<Objs xmlns=\\"urn:x\\"><S S=\\"warning\\">it is hot</S><S S=\\"Error\\">it is bad_x000A_</S>of a program\\r\\n<S S=\\"Error\\">it is worse_x000A_</S></Objs>" >&2',
  'printf "%s\\r\\n" "$OPSVERIFY"',
  '',
  'seq -f "line %.0f" 20000',
];
const scripts = Object.fromEntries(trials.map(({ text }, at) => [text, onWindows[at] ?? '']));
const host = hostOfFile({
  settings: { deafPowershell: false, noCtrlC: false },
  emulated: {
    bootstrap: powershellBootstrap,
    cmdRunner,
    scripts: {
      ...scripts,
      [versionQuestion]: 'echo 5.1.20348.1',
      // A shell that is about to start its program loses a Ctrl+C that arrives at that moment.
      [endless]: 'echo begun; exec sleep 600',
      [whoAmI]: 'echo S-1-5-18',
    },
    fileServer,
    taskProgram,
    taskSupervisor,
  },
});

async function verified(limitMs = 60_000): Promise<Verified[]> {
  const all: Verified[] = [];
  const connections = withoutPool(optionsFor(host.fixture, 'http'));
  for await (const one of verifyHost(connections, { limitMs })) all.push(one);
  return all;
}

winrmTest('everything about a host is reported, good and bad apart, and no shell is left', async () => {
  const temp = join(host.fixture.drive, 'Windows/Temp');
  await mkdir(temp, { recursive: true });
  const all = await verified();
  // The stand-in runs the batch file with /bin/sh, for which %OPSVERIFY% is not a variable.
  expect(all.filter(({ ok }) => !ok).map(({ what }) => what)).toEqual([
    'a batch file runs, and its exit code is reported',
  ]);
  expect(all).toHaveLength(trials.length + 5);
  expect(all.filter(({ isNews }) => isNews).map(({ found }) => found)).toEqual([
    'OS: 0.0.0 SP: 0.0 Stack: 3.0',
    '5.1.20348.1',
    expect.stringMatching(/^by Ctrl\+C, with exit code -?\d+, after \d+ ms$/),
  ]);
  expect([await readdir(temp), host.fixture.tasks]).toEqual([[], []]);
  expect((await host.fixture.stats()).shells).toBe(0);
});

winrmTest('a command that ends before it is stopped does not count as stopped', async () => {
  await host.fixture.mishap({ action: 'Command', what: 'fault:not_found', skip: trials.length + 1 });
  expect((await verified()).at(-3)).toMatchObject({ ok: false });
});

winrmTest(
  'a host that passes Ctrl+C on to no command is distinguished from one that does, and its commands end anyway',
  async () => {
    await host.fixture.reset({ noCtrlC: true });
    const stop = (await verified()).find(({ what }) => what.includes('is stopped'));
    expect(stop).toMatchObject({
      ok: true,
      found: expect.stringMatching(/^with its shell, not by Ctrl\+C, after \d{4,} ms$/),
      isNews: true,
    });
  },
);

winrmTest('a host that can not be used is reported once, with what to do', async () => {
  await host.fixture.mishap({ action: 'Create', what: 'fault:denied', times: 2 });
  const [login, shell, ...more] = await verified();
  expect([login?.ok, more]).toEqual([true, []]);
  expect(shell).toMatchObject({ ok: false, found: expect.stringContaining('configSDDL') });
});

winrmTest('a host whose PowerShell reads nothing is reported within the limit, after its login', async () => {
  await host.fixture.reset({ deafPowershell: true });
  const [login, shell, ...more] = await verified(3_000);
  expect([login?.ok, more]).toEqual([true, []]);
  expect(shell).toMatchObject({ ok: false, found: 'It did not end within 3 s.' });
  expect((await host.fixture.stats()).shells).toBe(0);
});

winrmTest('a trial that does not end is reported, with what was printed until then', async () => {
  expect.assertions(2);
  const connections = withoutPool(optionsFor(host.fixture, 'http'));
  for await (const { what, ok, found } of verifyHost(connections, { limitMs: 3_000 })) {
    if (what.startsWith('it makes a shell')) await host.fixture.reset({ deafPowershell: true });
    if (what !== trials[0]?.what) continue;
    expect({ ok, found }).toEqual({
      ok: false,
      found: 'It did not end within 3 s; until then: stdout "", stderr ""',
    });
    break;
  }
  expect((await host.fixture.stats()).shells).toBe(0);
});

winrmTest('the trials are valid PowerShell', async () => {
  for (const { text, shell } of trials) if (shell !== 'cmd') expect(await isSoundPowershell(text)).toBe(true);
  for (const text of [endless, whoAmI]) expect(await isSoundPowershell(text)).toBe(true);
});
