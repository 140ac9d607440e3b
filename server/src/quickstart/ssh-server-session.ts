// One command of the demo's SSH server: a session of its own for the process, output in both directions, exit and
// signals.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import type { Writable } from 'node:stream';
import type { ServerChannel } from 'ssh2';
import type { DemoAccount } from './ssh-server-account.ts';

// RFC 4254, section 6.10.
const signals = [
  'ABRT',
  'ALRM',
  'FPE',
  'HUP',
  'ILL',
  'INT',
  'KILL',
  'PIPE',
  'QUIT',
  'SEGV',
  'TERM',
  'USR1',
  'USR2',
] as const;

export class DemoSession {
  /** Resolves when the process has ended and its output has been passed on or dropped. */
  readonly ended: Promise<void>;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #channel: ServerChannel;
  #gone = false;

  constructor(command: string, channel: ServerChannel, account: DemoAccount) {
    this.#channel = channel;
    // detached: a session and process group of its own, like sshd provides.
    this.#child = spawn('/bin/sh', ['-c', command], {
      ...account.ids,
      cwd: account.home,
      env: account.environment,
      detached: true,
      stdio: 'pipe',
    });
    this.ended = this.#run();
  }

  /** Sends a signal, by its SSH name, to the whole process group. */
  signal(name: string): void {
    const known = named(name);
    const { pid } = this.#child;
    // A pid that has been waited for may belong to another process by now.
    if (!known || pid === undefined || this.#child.exitCode !== null || this.#child.signalCode !== null)
      return;
    try {
      process.kill(-pid, `SIG${known}`);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  kill(): Promise<void> {
    this.signal('KILL');
    this.#drop();
    return this.ended;
  }

  async #run(): Promise<void> {
    const { stdin, stdout, stderr } = this.#child;
    stdout.on('data', (bytes: Buffer) => this.#send(this.#channel, bytes));
    stderr.on('data', (bytes: Buffer) => this.#send(this.#channel.stderr, bytes));
    // The process may end without reading its input.
    stdin.on('error', () => {});
    this.#channel.on('error', () => {});
    this.#channel.pipe(stdin);
    // The client is gone: nobody reads the output any more, and nobody could stop the command.
    this.#channel.once('close', () => {
      this.signal('HUP');
      this.#drop();
    });
    this.#child.once('error', () => this.#channel.exit(127));
    this.#child.once('exit', (code, signal) => {
      // SSH has names for only a few signals; others become the exit code that a shell would return.
      if (signal && named(signal)) this.#channel.exit(signal.replace(/^SIG/, ''));
      else this.#channel.exit(code ?? (signal ? 128 + constants.signals[signal] : 255));
    });
    await once(this.#child, 'close').catch(() => {});
    this.#channel.end();
  }

  /**
   * Writes one piece at a time for both streams: they share the channel's window, and ssh2 1.17 remembers only one
   * write that waits for it, and never releases what it has sent.
   */
  #send(to: Writable, bytes: Buffer): void {
    if (this.#gone) return;
    const { stdout, stderr } = this.#child;
    stdout.pause();
    stderr.pause();
    to.write(bytes, () => {
      const channel = this.#channel as unknown as Record<
        '_chunk' | '_chunkcb' | '_chunkErr' | '_chunkcbErr',
        undefined
      >;
      channel._chunk = channel._chunkcb = channel._chunkErr = channel._chunkcbErr = undefined;
      stdout.resume();
      stderr.resume();
    });
  }

  #drop(): void {
    this.#gone = true;
    this.#child.stdin.destroy();
    this.#child.stdout.resume();
    this.#child.stderr.resume();
  }
}

function named(name: string): (typeof signals)[number] | undefined {
  return signals.find((signal) => signal === name.replace(/^SIG/, ''));
}
