import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { beforeAll, expect, test, vi } from 'vitest';

const root = resolve(import.meta.dirname, '../../..');
const program = '.cache/tested/suite-process.mjs';

// Through tsx, each of its starts would take two seconds of processor.
beforeAll(async () => {
  const { bundle } = await import(join(root, 'scripts/bundle.mjs'));
  mkdirSync(join(root, '.cache/tested'), { recursive: true });
  await (bundle as (entryPoint: string, outfile: string) => Promise<void>)(
    'test/support/suite/suite-process.ts',
    program,
  );
});

/** Command lines of processes that name the folder, or have it in their environment. */
function runningIn(folder: string): string[] {
  return readdirSync('/proc').flatMap((pid) => {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      const has = `${command}${readFileSync(`/proc/${pid}/environ`, 'utf8')}`.includes(folder);
      return has && command !== '' ? [command.replaceAll('\0', ' ')] : [];
    } catch {
      return [];
    }
  });
}

test.each([
  ['by SIGTERM', 'SIGTERM'],
  ['by SIGKILL', 'SIGKILL'],
  ['in order', undefined],
] as const)(
  'a suite that is ended %s leaves no PostgreSQL, nothing that tests had running, and no folder',
  async (_, signal) => {
    const suite = spawn(process.execPath, [program], {
      cwd: root,
      env: { ...process.env, OPSCONDUCTOR_TEST_DATABASE_URL: undefined },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    try {
      let folder = '';
      for await (const line of createInterface(suite.stdout)) {
        folder = /^folder (.+)/.exec(line)?.[1] ?? '';
        if (folder !== '') break;
      }
      expect(
        runningIn(folder).map(
          (command) =>
            command
              .split(/[ /](?=postgres |sleep )/)
              .at(-1)
              ?.split(' ')[0],
        ),
      ).toEqual(expect.arrayContaining(['postgres', 'sleep']));
      if (signal === undefined) suite.stdin.end();
      else suite.kill(signal);
      await vi.waitFor(() => expect([runningIn(folder), existsSync(folder)]).toEqual([[], false]), {
        timeout: 30_000,
        interval: 100,
      });
    } finally {
      suite.kill('SIGKILL');
    }
  },
);
