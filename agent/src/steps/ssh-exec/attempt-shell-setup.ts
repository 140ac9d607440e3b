// A shell of this machine that is given the script of an attempt, and the word to go, as an agent does it.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { newNonce, ReportFilter } from './bootstrap-report.ts';
import { attemptScript, goAhead, type ScriptInput } from './ssh-exec-script.ts';

export interface AttemptShellOptions {
  args?: readonly string[];
  /** What it is called with; `sh` unless told, which busybox goes by. */
  argv0?: string;
  cwd?: string;
  env?: NodeJS.ProcessEnv;
  /** So many bytes of the script, and then the end of it. */
  upTo?: number;
  /** What the command is told in place of the word that it waits for. */
  word?: string;
}

/** What the second shell of an attempt gets: its script without the marker's line. */
export function scriptOfAttempt(input: Partial<ScriptInput>, nonce = newNonce()): Buffer {
  const script = attemptScript({ marker: 'm.1.1', command: 'true', ...input }, nonce);
  return script.subarray(script.indexOf('\n') + 1);
}

/** Of a script without a terminal. What of stderr is the report is not in `stderr`. */
export async function runInShell(
  path: string,
  input: Partial<ScriptInput>,
  { args = [], argv0 = 'sh', cwd, env, upTo, word }: AttemptShellOptions = {},
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
    if (filter.report?.kind === 'started') shell.stdin.end(word ?? goAhead(nonce));
  });
  // Of a shell that ended before it had read all.
  shell.stdin.on('error', () => undefined);
  const script = scriptOfAttempt(input, nonce).subarray(0, upTo);
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
