// The file that a command writes its outputs to, in this machine's own shells.
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { removeScript } from '../../detached/supervisor-script.ts';
import { makeOutputFile, outputDirectory } from './output-file.ts';
import { commandScript } from './ssh-exec-script.ts';

const shells = ['dash', 'bash --posix', 'busybox sh', 'zsh --emulate sh'].filter(
  (shell) => spawnSync(shell.split(' ')[0] ?? '', ['-c', 'true']).error === undefined,
);

let home: string;
beforeEach(() => {
  // Below the real home directory: no directory above it may be writable by others, as /tmp is.
  home = mkdtempSync(join(homedir(), '.opsconductor-test-'));
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

function run(shell: string, input: string): string {
  const [file = '', ...args] = shell.split(' ');
  return spawnSync(file, args, { input, env: { HOME: home, PATH: process.env.PATH } }).stdout.toString();
}

function start(
  shell: string,
  command: string,
  name = `inst.1.1.${randomUUID()}`,
): { name: string; said: string } {
  const outputFile = makeOutputFile(name);
  const script = commandScript({ marker: 'inst.1.1', command, outputFile }, (report) => `echo "${report}"`);
  return { name, said: run(shell, script) };
}

test.each(shells)('in %s the file is new, closed to others, and leaves no shell variable behind', (shell) => {
  const { name, said } = start(
    shell,
    'echo "$OPSCONDUCTOR_OUTPUT"; set | grep -cE "^(nl|r1|r2|a|n|u|h|b|d|l|q)="; umask',
  );
  const [report, path = '', names, umask] = said.split('\n');
  expect(report).toMatch(/^start \d+$/);
  expect(path).toBe(join(home, '.opsconductor/attempts', `${name}.out`, 'output'));
  expect(statSync(path)).toMatchObject({ size: 0 });
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(statSync(join(path, '..')).mode & 0o777).toBe(0o700);
  expect(names).toBe('0');
  expect(umask).toMatch(/^0*22$/);
});

test('a second start of the same attempt is refused before the command', () => {
  const { name } = start('sh', 'true');
  expect(start('sh', 'echo ran', name).said).toBe('output\n');
});

test('the file is not made behind a link that someone else put there', () => {
  const elsewhere = join(home, 'elsewhere');
  mkdirSync(elsewhere);
  symlinkSync(elsewhere, join(home, '.opsconductor'));
  const { said } = start('sh', 'echo "$OPSCONDUCTOR_OUTPUT"; rm -r "${OPSCONDUCTOR_OUTPUT%/*}"');
  expect(said).toMatch(/^start \d+\n\/var\/tmp\/opsconductor-\d+\/attempts\//);
  expect(readdirSync(elsewhere)).toEqual([]);
});

test('removing deletes the attempt’s output file, and nothing else', () => {
  const [first, second] = [start('sh', 'echo x=1 >"$OPSCONDUCTOR_OUTPUT"'), start('sh', 'true')];
  const attempts = join(home, '.opsconductor/attempts');
  const remove = (name: string) => run('sh', removeScript({ handedOn: outputDirectory(name) }, 'nonce'));
  expect(remove(first.name)).toBe('nonce removed\n');
  expect(readdirSync(attempts)).toEqual([`${second.name}.out`]);
  // Removing again works, even if there is nothing to remove.
  expect(remove(first.name)).toBe('nonce removed\n');
  expect(existsSync(join(attempts, `${second.name}.out`, 'output'))).toBe(true);
});
