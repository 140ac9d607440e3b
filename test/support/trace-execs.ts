// Records every program that processes and their children execute.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Program } from './packages.ts';

/** Pids of processes with this text in their command line. */
export function pidsWith(mark: string): number[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      return readFileSync(`/proc/${name}/cmdline`, 'utf8').includes(mark) ? [Number(name)] : [];
    } catch {
      return []; // it has ended meanwhile
    }
  });
}

export class ExecTrace {
  readonly #child: ChildProcess;
  #text = '';

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  /** Resolves when all of them are being traced by this strace. */
  static async of(pids: readonly number[], strace: Program): Promise<ExecTrace> {
    const args = ['-f', '-xx', '-s', '131072', '-e', 'trace=execve,execveat', '-e', 'signal=none'];
    const child = spawn(strace.path, [...args, ...pids.flatMap((pid) => ['-p', String(pid)])], {
      stdio: ['ignore', 'ignore', 'pipe'],
      // Its own messages begin with this.
      argv0: 'strace',
      env: { ...process.env, ...strace.env },
    });
    const trace = new ExecTrace(child);
    const attached = new Set<string>();
    await new Promise<void>((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`strace ended with ${code}: ${trace.#text}`)));
      createInterface({ input: child.stderr as NodeJS.ReadableStream }).on('line', (line) => {
        trace.#text += `${line}\n`;
        const [, pid] = /^strace: Process (\d+) attached/.exec(line) ?? [];
        if (pid !== undefined) attached.add(pid);
        if (pids.every((each) => attached.has(String(each)))) resolve();
      });
    });
    return trace;
  }

  /** Stops tracing, and returns what was executed, with literal arguments. */
  async end(): Promise<string> {
    const ended = once(this.#child, 'close');
    this.#child.kill('SIGINT');
    await ended;
    return this.#text.replace(/(?:\\x[0-9a-f]{2})+/g, (hex) =>
      Buffer.from(hex.replaceAll('\\x', ''), 'hex').toString('latin1'),
    );
  }
}
