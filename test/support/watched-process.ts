// Runs a program like a person in a terminal: its output is watched, Ctrl-C ends it, and everything it started is
// known.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';

export interface WatchedProcessOptions {
  command: readonly string[];
  cwd: string;
  /** In addition to PATH, LANG and TMPDIR; nothing else of this process's environment is passed on. */
  env?: Record<string, string>;
  /** Written to its standard input, which is otherwise empty. */
  input?: string;
  /** Processes with one of these in their command line also belong to it, whatever their environment is. */
  marks?: readonly string[];
}

const lineTimeoutMs = 60_000;
const exitTimeoutMs = 30_000;
const markName = 'OPSCONDUCTOR_TEST_MARK';

export class WatchedProcess {
  /** Everything printed so far, both streams. */
  output = '';
  readonly exited: Promise<number | null>;
  readonly #child: ChildProcess;
  readonly #mark = randomUUID();
  readonly #marks: readonly string[];
  readonly #waiting = new Set<() => void>();

  constructor({ command, cwd, env, input = '', marks = [] }: WatchedProcessOptions) {
    this.#marks = marks;
    const [file = '', ...args] = command;
    this.#child = spawn(file, args, {
      cwd,
      // A process group, as a terminal creates one for a command line.
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH, TMPDIR: tmpdir(), LANG: 'C.UTF-8', ...env, [markName]: this.#mark },
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (bytes: Buffer) => {
        this.output += bytes.toString();
        for (const check of this.#waiting) check();
      });
    }
    // A program that doesn't read its input may be gone before it is written.
    this.#child.stdin?.on('error', () => {});
    this.#child.stdin?.end(input);
    this.exited = once(this.#child, 'close').then(([code]) => code as number | null);
    void this.exited.then(() => {
      for (const check of this.#waiting) check();
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Resolves when the output matches; rejects, with everything printed, if it ends before that or takes too long. */
  says(pattern: RegExp, timeoutMs = lineTimeoutMs): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const done = (settle: () => void) => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        settle();
      };
      const fail = (why: string) =>
        done(() => reject(new Error(`${why} before it said ${pattern}:\n${this.output}`)));
      const timer = setTimeout(() => fail(`${timeoutMs / 1000} s passed`), timeoutMs);
      const check = () => {
        const found = pattern.exec(this.output);
        if (found !== null) done(() => resolve(found));
        else if (this.#hasEnded()) fail('It ended');
      };
      this.#waiting.add(check);
      check();
    });
  }

  /** Ctrl-C: sends the signal to the whole process group. Returns the exit code. */
  async interrupt(): Promise<number | null> {
    process.kill(-this.pid, 'SIGINT');
    return this.ended();
  }

  /** Returns the exit code, within a limited time. */
  async ended(timeoutMs = exitTimeoutMs): Promise<number | null> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`It did not end within ${timeoutMs / 1000} s:\n${this.output}`)),
        timeoutMs,
      );
    });
    return Promise.race([this.exited, late]).finally(() => clearTimeout(timer));
  }

  /** Running processes created by this one, directly or not, whose command line matches. */
  processes(pattern = /(?:)/): { pid: number; command: string }[] {
    const isOwn = (pid: number, command: string) =>
      this.#marks.some((mark) => command.includes(mark)) ||
      readProc(pid, 'environ').includes(`${markName}=${this.#mark}`);
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map((name) => ({
        pid: Number(name),
        command: readProc(Number(name), 'cmdline').replaceAll('\0', ' '),
      }))
      .filter(({ pid, command }) => command !== '' && pattern.test(command) && isOwn(pid, command));
  }

  /** For the end of a test: nothing may outlive the test, however that ended. */
  async killAll(): Promise<void> {
    for (const { pid } of this.processes()) kill(pid);
    if (!this.#hasEnded()) kill(this.pid);
    await this.exited;
  }

  #hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }
}

/** Sends SIGKILL to a process that may already be gone. */
export function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself in the meantime.
  }
}

function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}
