// A process of the system under test: started, killed, frozen and restarted; keeps the end of its output.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { isFrozen, standsStill, until } from './waiting.ts';

const tailChars = 300_000;
/** Enough even while the servers are away or a backup is being restored, on a busy machine. */
const readyMs = 180_000;
const setpriv = '/usr/bin/setpriv';

export interface ProgramOptions {
  name: string;
  /** Arguments for node. */
  args: readonly string[];
  env: Record<string, string>;
  /** Matches its output when it is ready. */
  ready: RegExp;
  cwd: string;
}

export class Program {
  readonly name: string;
  /** The newest output over all its restarts. */
  log = '';
  readonly #options: ProgramOptions;
  #child: ChildProcess | undefined;
  #ended: Promise<unknown> = Promise.resolve();
  #isReady = false;
  #isToEnd = false;
  /** While set, it isn't started. */
  isHeld = false;
  #endedByItself: string[] = [];
  #wake: () => void = () => undefined;

  constructor(options: ProgramOptions) {
    this.name = options.name;
    this.#options = options;
  }

  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Whether it is ready for use, according to its output. */
  get isReady(): boolean {
    return this.isRunning && this.#isReady;
  }

  /** Starts it without waiting for it. */
  launch(): void {
    if (this.isRunning || this.isHeld) return;
    const { args, env, cwd, ready } = this.#options;
    const command = [process.execPath, ...args];
    // Whatever ends this process also ends the child.
    const argv = existsSync(setpriv) ? [setpriv, '--pdeathsig', 'KILL', ...command] : command;
    const [file = '', ...rest] = argv;
    const child = spawn(file, rest, {
      cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env.PATH, TMPDIR: tmpdir(), LANG: 'C.UTF-8', ...env },
    });
    this.#child = child;
    this.#isReady = false;
    this.#isToEnd = false;
    this.note('started');
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (bytes: Buffer) => {
        const text = bytes.toString();
        this.log = (this.log + text).slice(-tailChars);
        if (child === this.#child && ready.test(text)) this.#isReady = true;
        this.#wake();
      });
    }
    this.#ended = once(child, 'close').then(([code, signal]) => {
      this.note(`ended: ${signal ?? code}`);
      // One that can't start yet tries again; one that was ready ends only when told to, or because of its own fault.
      if (this.#isReady && !this.#isToEnd)
        this.#endedByItself.push(`${this.name} ended by itself: ${signal ?? code}`);
      this.#wake();
    });
  }

  /** Starts it, repeatedly if it ends by itself, until it is ready. */
  async start(): Promise<void> {
    this.launch();
    const deadline = performance.now() + readyMs;
    while (!this.isReady) {
      if (performance.now() > deadline)
        throw new Error(`${this.name} is not ready (${this.#state()}):\n${this.log.slice(-4_000)}`);
      if (!this.isRunning) this.launch();
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 250);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** As reported by the kernel. */
  #state(): string {
    const pid = this.#child?.pid;
    if (!this.isRunning || pid === undefined) return 'not running';
    try {
      const of = (file: string) => readFileSync(`/proc/${pid}/${file}`, 'utf8');
      const states = of('status').match(/^(State|Threads|voluntary_ctxt_switches):.*$/gm) ?? [];
      return [...states, `in ${of('wchan')}`].join(', ');
    } catch {
      return 'just ended';
    }
  }

  signal(name: NodeJS.Signals): void {
    if (this.isRunning) this.#child?.kill(name);
  }

  /** Sends SIGSTOP at once; resolves when it stands still. Resolves with false if there was nothing to freeze. */
  async freeze(): Promise<boolean> {
    const pid = this.isRunning ? this.#child?.pid : undefined;
    if (pid === undefined) return false;
    this.signal('SIGSTOP');
    await until(`${this.name} stands still`, async () => standsStill(pid), readyMs, 5);
    return isFrozen(pid);
  }

  /** Sends SIGCONT at once; resolves when it goes on, if it is running at all. */
  async thaw(): Promise<void> {
    const pid = this.isRunning ? this.#child?.pid : undefined;
    this.signal('SIGCONT');
    if (pid !== undefined) await until(`${this.name} goes on`, async () => !isFrozen(pid), readyMs, 5);
  }

  /** Sends SIGKILL; resolves when it is gone. */
  async kill(): Promise<void> {
    this.#isToEnd = true;
    this.signal('SIGKILL');
    await this.#ended;
  }

  /** Returns the times it ended by itself since the last call. */
  takeEnds(): string[] {
    return this.#endedByItself.splice(0);
  }

  note(text: string): void {
    this.log = `${this.log}--- ${new Date().toISOString()} ${this.name} ${text}\n`.slice(-tailChars);
  }
}
