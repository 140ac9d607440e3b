// For tests: gives a local shell the script of an attempt and then the word, as an agent does.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { newNonce, ReportFilter } from './bootstrap-report.ts';
import { attemptScript, type ScriptInput, wordFor } from './ssh-exec-script.ts';

export interface AttemptShellOptions {
  args?: readonly string[];
  /** The shell's argument 0, from which busybox knows what to be; default `sh`. */
  argv0?: string;
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** Sends only this many bytes of the script, then the end of input. */
  upTo?: number;
  asksLoginShell?: boolean;
  /** Sent in place of the word that the command waits for. */
  word?: string;
}

/** Returns what the second shell of an attempt reads: the script without the marker's line. */
export function scriptOfAttempt(
  input: Partial<ScriptInput>,
  nonce = newNonce(),
  { asksLoginShell = false } = {},
): Buffer {
  const script = attemptScript({ marker: 'm.1.1', command: 'true', ...input }, nonce, { asksLoginShell });
  return script.subarray(script.indexOf('\n') + 1);
}

/** Runs the script without a terminal. `stderr` of the result doesn't contain the report. */
export async function runInShell(
  path: string,
  input: Partial<ScriptInput>,
  { args = [], argv0 = 'sh', cwd, env, upTo, word, asksLoginShell = false }: AttemptShellOptions = {},
) {
  const nonce = newNonce();
  const filter = new ReportFilter(nonce);
  const shell = spawn(path, args, { argv0, ...(cwd && { cwd }), ...(env && { env }) });
  const ended = once(shell, 'close');
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  shell.stdout.on('data', (bytes: Buffer) => stdout.push(bytes));
  shell.stderr.on('data', (bytes: Buffer) => {
    stderr.push(...filter.push(bytes));
    if (filter.report?.kind === 'started') shell.stdin.end(word ?? wordFor(nonce));
  });
  // The shell may end before it has read everything.
  shell.stdin.on('error', () => undefined);
  const script = scriptOfAttempt(input, nonce, { asksLoginShell }).subarray(0, upTo);
  if (upTo === undefined) shell.stdin.write(script);
  else shell.stdin.end(script);
  const [status] = (await ended) as [number | null];
  return {
    status,
    stdout: Buffer.concat(stdout),
    stderr: Buffer.concat([...stderr, ...filter.flush()]).toString(),
    report: filter.report,
  };
}
