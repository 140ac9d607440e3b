// `npm start` as a person runs it: a process of its own, whose output is watched and whom Ctrl-C ends.
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import type { Account, Checkout } from './checkout.ts';

export interface NpmStartOptions {
  checkout: Checkout;
  args: readonly string[];
  env?: Record<string, string>;
  /** Who runs it; this process's own user unless told. */
  account?: Account;
  /** From where; the checkout unless told. */
  cwd?: string;
}

const lineTimeoutMs = 90_000;
const exitTimeoutMs = 30_000;
const markName = 'OPSCONDUCTOR_TEST_MARK';

export class NpmStart {
  /** All that it printed so far, both streams. */
  output = '';
  readonly exited: Promise<number | null>;
  readonly #child: ChildProcess;
  readonly #mark = randomUUID();
  readonly #waiting = new Set<() => void>();
  readonly #args: readonly string[];

  constructor(options: NpmStartOptions) {
    const { checkout, args, account, cwd = checkout.folder } = options;
    this.#args = args;
    const npm = ['npm', '--prefix', checkout.folder, 'start', '--', ...args];
    const command =
      account === undefined
        ? npm
        : ['setpriv', `--reuid=${account.uid}`, `--regid=${account.gid}`, '--clear-groups', ...npm];
    const [file = '', ...rest] = command;
    this.#child = spawn(file, rest, {
      cwd,
      // A process group, as a terminal makes one of a command line.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH,
        HOME: checkout.home,
        LANG: 'C.UTF-8',
        [markName]: this.#mark,
        ...options.env,
      },
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (bytes: Buffer) => {
        this.output += bytes.toString();
        for (const check of this.#waiting) check();
      });
    }
    this.exited = once(this.#child, 'close').then(([code]) => code as number | null);
    void this.exited.then(() => {
      for (const check of this.#waiting) check();
    });
  }

  /** Resolves when the output has it; rejects, with all that was printed, when it ends before or takes too long. */
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
        else if (this.#child.exitCode !== null || this.#child.signalCode !== null) fail('It ended');
      };
      this.#waiting.add(check);
      check();
    });
  }

  /** Ctrl-C: the signal goes to the whole process group. Returns the exit code. */
  async interrupt(): Promise<number | null> {
    process.kill(-(this.#child.pid ?? 0), 'SIGINT');
    return this.ended();
  }

  /** The exit code, within a bounded time. */
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

  /** kill -9 of the server's own process, and nothing else. Resolves when npm has ended too. */
  async killServer(): Promise<void> {
    const [pid] = this.processes(/scripts\/start\.mjs/).map((found) => found.pid);
    if (pid === undefined) throw new Error(`there is no server process:\n${this.output}`);
    process.kill(pid, 'SIGKILL');
    await this.ended();
  }

  /** Living processes that this start has made, directly or not, whose command line matches. */
  processes(pattern = /(?:)/): { pid: number; command: string }[] {
    const isOwn = (pid: number, command: string) =>
      readProc(pid, 'environ').includes(`${markName}=${this.#mark}`) ||
      this.#dataFolders().some((folder) => command.includes(folder));
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map((name) => ({
        pid: Number(name),
        command: readProc(Number(name), 'cmdline').replaceAll('\0', ' '),
      }))
      .filter(({ pid, command }) => command !== '' && pattern.test(command) && isOwn(pid, command));
  }

  /** For the end of a test: nothing of it may outlive the test, however that went. */
  async killAll(): Promise<void> {
    for (const { pid } of this.processes()) kill(pid);
    if (this.#child.exitCode === null && this.#child.signalCode === null) kill(this.#child.pid ?? 0);
    await this.exited;
  }

  #dataFolders(): string[] {
    return this.#args.filter((_, index) => this.#args[index - 1] === '--data').map((folder) => `${folder}/`);
  }
}

export function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended by itself meanwhile.
  }
}

function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return '';
  }
}
