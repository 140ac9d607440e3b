// A process of the demo that outlives a killed server. The next start finds it by its pid file. It is restarted if it
// dies while the server runs, and ended when the server stops in order.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import type { Log } from '../log.ts';
import { endsAtOnce } from '../process/ends-at-once.ts';

export interface DemoProcessOptions {
  name: string;
  args: readonly string[];
  pidFile: string;
  logFile: string;
  log: Log;
  /** How soon it ends if it has nothing to do; 1.5 s by default. */
  quickMs?: number;
  /** Pause between its end and its next start; 1 s by default. */
  restartMs?: number;
}

const defaultRestartMs = 1_000;
/** Pauses between failing starts grow up to this many times the normal pause. */
const maxPauseFactor = 30;
const shortLifeMs = 10_000;
const maxShortLives = 20;
const stopGraceMs = 10_000;
const defaultQuickMs = 1_500;
const pollMs = 200;

export class DemoProcess {
  readonly #options: DemoProcessOptions;
  #pid: number | undefined;
  #child: ChildProcess | undefined;
  #timer: NodeJS.Timeout | undefined;
  #startedAtMs = 0;
  /** Short lives in a row. */
  #shortLives = 0;
  #failedStarts = 0;
  #stopping = false;
  #forget = () => {};

  constructor(options: DemoProcessOptions) {
    this.#options = options;
  }

  /** Adopts the process of an earlier server, or starts one. */
  async start(): Promise<void> {
    this.#forget = endsAtOnce(() => this.#pid !== undefined && signal(this.#pid, 'SIGKILL'));
    const pid = readPid(this.#options.pidFile);
    if (pid !== undefined && isOurs(pid, this.#options.args)) {
      this.#pid = pid;
      this.#startedAtMs = performance.now();
      this.#options.log.info(
        { name: this.#options.name, pid },
        'demo process of an earlier server was still running and is used',
      );
      this.#watchAdopted(pid);
      return;
    }
    await this.#spawn();
  }

  /** Ends the process of an earlier server, so that `start` starts a new one. */
  async endOlder(): Promise<void> {
    const pid = readPid(this.#options.pidFile);
    if (pid === undefined || !isOurs(pid, this.#options.args)) return;
    signal(pid, 'SIGTERM');
    if (!(await this.#gone(pid, stopGraceMs))) signal(pid, 'SIGKILL');
  }

  /** Ends the process. If it has something to finish, `onWait` is told how long that may take, in ms. */
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
    this.#forget();
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
    if (child.pid === undefined) {
      child.once('error', (error) => this.#onFailedStart(error));
      return;
    }
    this.#child = child;
    this.#pid = child.pid;
    this.#startedAtMs = performance.now();
    child.on('error', (error) =>
      this.#options.log.error({ err: error, name: this.#options.name }, 'demo process failed'),
    );
    const exited = new Promise<[number | null, string | null]>((resolve) =>
      child.once('exit', (...how) => resolve(how)),
    );
    try {
      await writeFile(this.#options.pidFile, String(child.pid), { mode: 0o600 });
    } catch (error) {
      // Without the file the next server would not find it, and would start another one.
      child.kill('SIGKILL');
      await exited;
      this.#child = undefined;
      this.#pid = undefined;
      throw error;
    }
    this.#failedStarts = 0;
    void exited.then((how) => this.#onExit(...how));
  }

  #onExit(code: number | null, killedBy: string | null): void {
    this.#child = undefined;
    this.#pid = undefined;
    if (this.#stopping) return;
    const { log, name, logFile, restartMs = defaultRestartMs } = this.#options;
    this.#shortLives = performance.now() - this.#startedAtMs < shortLifeMs ? this.#shortLives + 1 : 0;
    const told = { name, exitCode: code, signal: killedBy, log: logFile };
    if (this.#shortLives > maxShortLives) {
      log.error(told, 'demo process ends soon after each start; it is not started again (its log says why)');
      return;
    }
    log.warn(told, 'demo process ended; it is started again');
    this.#spawnAfter(restartMs);
  }

  /**
   * Retried for as long as the server runs, which matters more than the demo: all that is missing may be room on the
   * disk.
   */
  #onFailedStart(error: unknown): void {
    if (this.#stopping) return;
    const { log, name, restartMs = defaultRestartMs } = this.#options;
    log.warn({ err: error, name }, 'demo process could not be started; it is tried again');
    this.#spawnAfter(restartMs * Math.min(2 ** this.#failedStarts, maxPauseFactor));
    this.#failedStarts += 1;
  }

  #spawnAfter(pauseMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#spawn().catch((error) => this.#onFailedStart(error));
    }, pauseMs);
  }

  #watchAdopted(pid: number): void {
    this.#timer = setTimeout(() => {
      if (isAlive(pid)) this.#watchAdopted(pid);
      else this.#onExit(null, null);
    }, this.#options.restartMs ?? defaultRestartMs);
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

/** The pid may belong to another program by now, so its command line must be ours. */
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
    // It is gone already, as intended.
  }
}
