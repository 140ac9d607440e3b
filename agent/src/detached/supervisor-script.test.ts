// The scripts in the shells that are /bin/sh somewhere, without SSH.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { newNonce } from '../steps/ssh-exec/bootstrap-report.ts';
import { commandScript } from '../steps/ssh-exec/ssh-exec-script.ts';
import { ReadStream } from './read-stream.ts';
import { startScript } from './supervisor-script.ts';

const shells = ['dash', 'bash --posix', 'busybox sh', 'zsh --emulate sh'].filter(
  (shell) => spawnSync('sh', ['-c', `${shell} -c true`]).status === 0,
);

/** Starts a command by this shell, also where the scripts name /bin/sh, and returns all that the reader tells. */
async function start(shell: string, command: string, before = ''): Promise<Record<string, string>> {
  const home = mkdtempSync(join(tmpdir(), 'opsconductor-shell-'));
  onTestFinished(() => rmSync(home, { recursive: true }));
  const nonce = newNonce();
  const script = commandScript(
    { marker: 'm.1.1', command },
    (report) => `{ echo "${report}" >&8; echo >&9; }`,
    { afterReport: ['exec 8>&- 9>&-'] },
  );
  const text = startScript({ name: 'm.1.1', marker: 'm.1.1', nonce, script }).toString();
  const child = spawn('sh', ['-c', `${before} exec ${shell}`], {
    env: { PATH: process.env.PATH, HOME: home },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  child.stdin.write(text.replaceAll('/bin/sh', shell));
  const stream = new ReadStream(nonce);
  const told: Record<string, string> = { order: '' };
  child.stdout.on('data', (bytes: Buffer) => {
    for (const event of stream.push(bytes)) {
      if (event.is === 'output') told[event.stream] = `${told[event.stream] ?? ''}${event.bytes}`;
      else if (event.is !== 'used') told['order'] += `${event.is === 'exit' ? event.code : event.is} `;
    }
  });
  await once(child, 'close');
  const place = join(home, '.opsconductor/attempts/m.1.1');
  // The supervisor's last file.
  if (existsSync(place)) await expect.poll(() => existsSync(join(place, 'over'))).toBe(true);
  return told;
}

test.each(shells)('%s starts a command, reads its output, and knows its end', async (shell) => {
  const told = await start(shell, 'echo out; echo err >&2; seq 1 20000; exit 7');
  const numbers = Array.from({ length: 20_000 }, (_, n) => `${n + 1}\n`).join('');
  expect(told).toEqual({ order: 'begin report 7 end ', stdout: `out\n${numbers}`, stderr: 'err\n' });
});

test.each(shells)('%s keeps what a limit on the size of files lets it, and knows the end', async (shell) => {
  const told = await start(shell, 'seq 1 40000; exit 7', 'ulimit -f 64;');
  expect(told['order']?.split(' ').sort().join(' ').trim()).toBe('7 begin end full report');
  expect(told['stdout']).toMatch(/^1\n2\n3\n/);
  expect(await start(shell, 'exit 7', 'ulimit -f 0;')).toEqual({ order: 'refused ' });
});
