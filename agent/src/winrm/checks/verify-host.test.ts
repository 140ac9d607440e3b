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

// What a Windows host would do, said to /bin/sh; by the trial's place, and last the one that is stopped.
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
  emulated: {
    bootstrap: powershellBootstrap,
    cmdRunner,
    scripts: {
      ...scripts,
      [versionQuestion]: 'echo 5.1.20348.1',
      [endless]: 'echo begun; sleep 600',
      [whoAmI]: 'echo S-1-5-18',
    },
    fileServer,
    taskProgram,
    taskSupervisor,
  },
});

async function verified(): Promise<Verified[]> {
  const all: Verified[] = [];
  for await (const one of verifyHost(withoutPool(optionsFor(host.fixture, 'http')))) all.push(one);
  return all;
}

winrmTest('everything is told of a host, good and bad apart, and no shell is left', async () => {
  const temp = join(host.fixture.drive, 'Windows/Temp');
  await mkdir(temp, { recursive: true });
  const all = await verified();
  // The stand-in runs the batch file by /bin/sh, to which %OPSVERIFY% is no variable.
  expect(all.filter(({ ok }) => !ok).map(({ what }) => what)).toEqual([
    'a batch file runs, and its exit code is told',
  ]);
  expect(all).toHaveLength(trials.length + 4);
  expect([await readdir(temp), host.fixture.tasks]).toEqual([[], []]);
  expect((await host.fixture.stats()).shells).toBe(0);
});

winrmTest('a command that ends before it is stopped is none that was stopped', async () => {
  await host.fixture.mishap({ action: 'Command', what: 'fault:not_found', skip: trials.length + 1 });
  expect((await verified()).at(-3)).toMatchObject({ ok: false });
});

winrmTest('a host that can not be used is told once, with what to do', async () => {
  await host.fixture.mishap({ action: 'Create', what: 'fault:denied' });
  const [only, ...more] = await verified();
  expect(more).toEqual([]);
  expect(only).toMatchObject({ ok: false, found: expect.stringContaining('Remote Management Users') });
});

winrmTest('what is tried is PowerShell', async () => {
  for (const { text, shell } of trials) if (shell !== 'cmd') expect(await isSoundPowershell(text)).toBe(true);
  for (const text of [endless, whoAmI]) expect(await isSoundPowershell(text)).toBe(true);
});
