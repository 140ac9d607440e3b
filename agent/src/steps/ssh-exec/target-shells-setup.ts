// For tests: finds and ends the shells that a connection has on its target, before and after they are given the word,
// and starts processes that hold their output open.
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import type { SshExecOptions } from './ssh-exec-run.ts';
import { type ExecSetup, setupExec } from './ssh-exec-setup.ts';

export function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Returns the pids of the shells that wait for a script. `connectionPid` is the connection's sshd process. */
export function waitingShells(connectionPid: number): number[] {
  return childrenOf(connectionPid).filter((pid) => waitsForMarker(pid));
}

/** A login shell may do so itself, as part of a forced command. */
function waitsForMarker(pid: number): boolean {
  if (read(`/proc/${pid}/cmdline`).includes('read -r OPSCONDUCTOR_ATTEMPT')) return true;
  const environment = read(`/proc/${pid}/environ`);
  return environment.includes('_COMMAND=read -r OPSC') && !environment.includes('\0OPSCONDUCTOR_ATTEMPT=');
}

export function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => read(`/proc/${name}/status`).includes(`\nPPid:\t${parent}\n`))
    .map(Number);
}

/** Returns the shells of a connection that wait for the word: they read that from descriptor 3. */
export function shellsAtTheWord(connectionPid: number): number[] {
  // Not a process that is about to become a shell and still has descriptors of its server.
  return childrenOf(connectionPid).filter(
    (pid) => read(`/proc/${pid}/cmdline`) === '/bin/sh\0' && existsSync(`/proc/${pid}/fd/3`),
  );
}

/** Returns the one shell of a connection that waits for the word. */
export async function shellAtTheWord(connectionPid: number): Promise<number> {
  return theOne(() => shellsAtTheWord(connectionPid));
}

/** Holds up this thread, so that nothing is sent or read, until there is one pid or ten seconds have passed. */
export function blockUntilTheOne(pids: () => number[]): number[] {
  const still = new Int32Array(new SharedArrayBuffer(4));
  const deadlineMs = Date.now() + 10_000;
  for (;;) {
    const found = pids();
    if (found.length === 1 || Date.now() > deadlineMs) return found;
    Atomics.wait(still, 0, 0, 5);
  }
}

/** Resolves as soon as there is exactly one pid. */
export async function theOne(pids: () => number[]): Promise<number> {
  let found: number[] = [];
  await expect
    .poll(() => {
      found = pids();
      return found;
    })
    .toHaveLength(1);
  // Never 0: signals to pid 0 go to all processes of the suite.
  return found[0] ?? expect.fail('no process');
}

/**
 * Waits until the agent has heard what earlier shells of the connection printed and how they ended: that arrives before
 * the end of a later command on the connection.
 */
export async function hearWhatCame(t: ExecSetup): Promise<void> {
  const probe = await t.warm.open(t.request, (connection) => connection.exec('exec sleep 0.1'));
  await once(probe.channel.resume(), 'close');
  probe.release();
}

/** A zombie doesn't count as running: a process whose parent was killed may remain one for a while. */
export function runs(pid: number | undefined): boolean {
  const status = read(`/proc/${pid}/status`);
  return status !== '' && !/^State:\s+[ZX]/m.test(status);
}

export const isGone = (pid: number | undefined) => expect.poll(() => runs(pid)).toBe(false);

/** Kills the shell that waits for the word, and waits until the agent knows. */
export async function endAtTheWord(t: ExecSetup, connectionPid: number): Promise<void> {
  const shell = await shellAtTheWord(connectionPid);
  process.kill(shell, 'SIGKILL');
  await isGone(shell);
  await hearWhatCame(t);
}

/**
 * Makes each shell print 1 MiB of its own, as a startup file may: more than is kept before the command is permitted.
 */
export const printsMuch = 'ForceCommand head -c 1048576 /dev/zero | tr "\\0" x; eval "$SSH_ORIGINAL_COMMAND"';
export const muchText = 'x'.repeat(1_048_576);

/**
 * Starts a process that holds the shell's output open, as one that a startup file starts may. It comes with the next
 * shell after the flag was made, or with `each` shell.
 */
export async function setupHolder({
  prints = '',
  ends = '',
  each = false,
  ...options
}: { prints?: string; ends?: string; each?: boolean } & SshExecOptions = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'opsconductor-test-'));
  chmodSync(directory, 0o777);
  const [flag, pidFile] = [join(directory, 'flag'), join(directory, 'pid')];
  onTestFinished(() => {
    for (const left of read(pidFile).split('\n').map(Number)) if (left > 0) process.kill(left, 'SIGKILL');
    rmSync(directory, { recursive: true });
  });
  const isDue = each ? `[ -d ${flag} ]` : `rmdir ${flag} 2>/dev/null`;
  const starts = `if ${isDue}; then ${prints} sleep 1000 & echo $! >>${pidFile}; ${ends} fi`;
  const config = [`ForceCommand ${starts}; eval "$SSH_ORIGINAL_COMMAND"`, 'LogLevel VERBOSE'];
  const t = await setupExec({ config }, options);
  return { t, flag, holder: () => Number(read(pidFile)) };
}

/** Sets up a process that holds the output of the shell that waits for the fourth step. */
export async function setupHeldOutput(options: { prints?: string } & SshExecOptions = {}) {
  const { t, flag, holder } = await setupHolder(options);
  await t.run({ command: 'echo $PPID' });
  const connectionPid = Number(t.sink.stdout);
  await t.run({ command: 'true' });
  await t.run({ command: `mkdir ${flag}` });
  const waiting = await theOne(() => waitingShells(connectionPid));
  return { t, waiting, holder };
}
