// A process of the demo that outlives a killed server: found again by its pid file at the next start, restarted when
// it dies while we run, ended when we stop in order.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import type { Log } from '../log.ts';

export interface DemoProcessOptions {
  name: string;
  args: readonly string[];
  pidFile: string;
  logFile: string;
  log: Log;
  /** With nothing to do it ends within this; 1.5 s unless told. */
  quickMs?: number;
}

const restartMs = 1_000;
const maxRestarts = 20;
const stopGraceMs = 10_000;
const defaultQuickMs = 1_500;
const pollMs = 200;

export class DemoProcess {
  readonly #options: DemoProcessOptions;
  #pid: number | undefined;
  #child: ChildProcess | undefined;
  #timer: NodeJS.Timeout | undefined;
  #restarts = 0;
  #stopping = false;

  constructor(options: DemoProcessOptions) {
    this.#options = options;
  }

  /** Adopts the process of an earlier server, or starts one. */
  async start(): Promise<void> {
    const pid = readPid(this.#options.pidFile);
    if (pid !== undefined && isOurs(pid, this.#options.args)) {
      this.#pid = pid;
      this.#options.log.info({ name: this.#options.name, pid }, 'demo process adopted');
      this.#watchAdopted(pid);
      return;
    }
    await this.#spawn();
  }

  /** Ends the process of an earlier server, so that `start` makes a new one. */
  async endOlder(): Promise<void> {
    const pid = readPid(this.#options.pidFile);
    if (pid === undefined || !isOurs(pid, this.#options.args)) return;
    signal(pid, 'SIGTERM');
    if (!(await this.#gone(pid, stopGraceMs))) signal(pid, 'SIGKILL');
  }

  /** `onWait` is told how long it may take, in ms, where the process has more to do than to end. */
  async stop(onWait?: (graceMs: number) => void): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#timer);
    const pid = this.#pid;
    if (pid === undefined) return;
    const { quickMs = defaultQuickMs } = this.#options;
    signal(pid, 'SIGTERM');
    const isQuick = await this.#gone(pid, quickMs);
    if (!isQuick) onWait?.(stopGraceMs - quickMs);
    if (!isQuick && !(await this.#gone(pid, stopGraceMs - quickMs))) {
      signal(pid, 'SIGKILL');
      await this.#gone(pid, 2_000);
    }
    await rm(this.#options.pidFile, { force: true });
  }

  async #spawn(): Promise<void> {
    const output = openSync(this.#options.logFile, 'a', 0o600);
    let child: ChildProcess;
    try {
      child = spawn(process.execPath, this.#options.args, {
        detached: true,
        stdio: ['ignore', output, output],
      });
    } finally {
      closeSync(output);
    }
    this.#child = child;
    this.#pid = child.pid;
    child.once('exit', (code, killedBy) => this.#onExit(code, killedBy));
    child.once('error', (error) => {
      this.#options.log.error({ err: error, name: this.#options.name }, 'demo process');
      // One that has not begun has no exit.
      if (child.pid === undefined) this.#tryAgain();
    });
    await writeFile(this.#options.pidFile, String(child.pid ?? ''), { mode: 0o600 });
  }

  #onExit(code: number | null, killedBy: string | null): void {
    this.#child = undefined;
    this.#pid = undefined;
    if (this.#stopping) return;
    this.#options.log.warn(
      { name: this.#options.name, exitCode: code, signal: killedBy, log: this.#options.logFile },
      'demo process ended; it is started again',
    );
    this.#tryAgain();
  }

  #tryAgain(): void {
    this.#restarts += 1;
    if (this.#stopping || this.#restarts > maxRestarts) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#spawnAgain(), restartMs);
  }

  /** Never rejects: the server has more to do than the demo. */
  async #spawnAgain(): Promise<void> {
    try {
      await this.#spawn();
    } catch (error) {
      const { log, name } = this.#options;
      log.warn({ err: error, name }, 'demo process could not be started; it is tried again');
      // One without its file would not be found by the next server, which starts another: its end has it tried again.
      if (this.#pid === undefined) this.#tryAgain();
      else signal(this.#pid, 'SIGKILL');
    }
  }

  #watchAdopted(pid: number): void {
    this.#timer = setTimeout(() => {
      if (isAlive(pid)) this.#watchAdopted(pid);
      else this.#onExit(null, null);
    }, restartMs);
  }

  async #gone(pid: number, withinMs: number): Promise<boolean> {
    const deadline = Date.now() + withinMs;
    while (
      this.#child === undefined
        ? isAlive(pid)
        : this.#child.exitCode === null && this.#child.signalCode === null
    ) {
      if (Date.now() > deadline) return false;
      await new Promise((next) => setTimeout(next, pollMs));
    }
    return true;
  }
}

function readPid(file: string): number | undefined {
  try {
    const pid = Number(readFileSync(file, 'utf8'));
    return Number.isSafeInteger(pid) && pid > 1 ? pid : undefined;
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** A pid may have been given to another program since: its command line must be ours. */
function isOurs(pid: number, args: readonly string[]): boolean {
  if (!isAlive(pid)) return false;
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    return args.every((arg) => words.includes(arg));
  } catch {
    return false;
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It is gone already, which is what was wanted.
  }
}
