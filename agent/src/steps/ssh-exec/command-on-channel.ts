// One command on one channel: its report, its output with back-pressure, and its end.
import { performance } from 'node:perf_hooks';
import type { ClientChannel } from 'ssh2';
import type { StopNote } from '../../detached/stop-note.ts';
import { type ChannelExit, channelExit, exitOf, type SshConnection } from '../../ssh/connection.ts';
import { freePacket } from '../../ssh/packets/packet-memory.ts';
import type { PooledChannel } from '../../ssh/pool/pool.ts';
import type { OutputSink, OutputStream } from '../step-type.ts';
import { type BootstrapReport, newNonce, ReportFilter } from './bootstrap-report.ts';
import { attemptScript, type ScriptInput, wordFor } from './ssh-exec-script.ts';

export interface CommandEnd {
  exitCode?: number;
  /** Signal name without SIG. */
  signal?: string;
  /** Set if another process stopped the command for this reason and could not report it. */
  stoppedFor?: StopNote;
  /** Whether the connection was lost, so that output may be missing. */
  connectionLost: boolean;
}

/** A running command, on a channel of its own (`CommandOnChannel`) or surviving its agent (`DetachedCommand`). */
export interface RunningCommand {
  readonly ended: Promise<CommandEnd>;
  readonly reported: Promise<BootstrapReport | undefined>;
  readonly report: BootstrapReport | undefined;
  readonly over: boolean;
  readonly exited: boolean;
  readonly discardedBytes: number;
  readonly executionTimeMs: number | undefined;
  /** True if certainly nothing of the command ran, because it has not been given the word. */
  readonly neverBegan?: boolean;
  /**
   * Resolves if the shell has had the whole script for the resulting number of seconds without reaching the command.
   * From then on it is not given the word.
   */
  readonly late?: Promise<number>;
  /** Makes sure that the command is never given the word. */
  callOff?(): void;
  stopBlocking(): void;
  /** Shell text that notes on the target why the command is ended, for another agent that may collect it. */
  stopNote?(marker: string, why: StopNote): string;
  close(): void;
}

export interface CommandOnChannelOptions {
  /** Whether the shell has already been sent the marker's line. */
  isMarked?: boolean;
  /** Whether the shell ends without a report if it has not read the marker. */
  needsMarker?: boolean;
  /** Whether the report is also to say which kind of login shell there is. */
  asksLoginShell?: boolean;
  /**
   * Whether the command also waits for `permit()`, until which the shell's output is kept here. Not for a terminal,
   * where nothing waits.
   */
  awaitsPermit?: boolean;
  /**
   * Time for a shell that has the whole script to reach the command, in ms; default two minutes. A program that reads
   * the input in place of the shell, as a forced command may, never reaches it.
   */
  beginWithinMs?: number;
  /**
   * Time for the remaining output of a shell that has exited to arrive, in ms; default one second. A process that a
   * startup file left running may hold the channel open indefinitely.
   */
  leftWithinMs?: number;
}

/** Limit on what is kept of a shell's own output (from its startup files, say) before its command is permitted. */
const maxKeptBytes = 256 * 1024;
/** The same while its report is waited for: twice what may be in transit. */
const maxLeftBytes = 4 * 1024 * 1024;

export class CommandOnChannel implements RunningCommand {
  /**
   * Resolves when the channel is closed (also by the loss of its connection) and the sink has taken all its output. If
   * the command awaits a permit, it doesn't resolve before that.
   */
  readonly ended: Promise<CommandEnd>;
  /** Resolves with the bootstrap's report, or with undefined if the channel ended without one. */
  readonly reported: Promise<BootstrapReport | undefined>;
  /** Whether `ended` has resolved. */
  over = false;
  /** Output dropped after a stop because the sink had no room, in bytes. */
  discardedBytes = 0;
  readonly late: Promise<number>;
  readonly #channel: ClientChannel;
  readonly #leftWithinMs: number;
  readonly #connection: Pick<SshConnection, 'open'>;
  readonly #sink: OutputSink;
  readonly #nonce = newNonce();
  /** Whether it runs in a terminal, where the report comes on stdout, and nothing waits for the word. */
  readonly inTerminal: boolean;
  readonly #filter: ReportFilter;
  #end: Omit<CommandEnd, 'connectionLost'> = {};
  #startedAt: number | undefined;
  #endedAt: number | undefined;
  #paused = false;
  #stopping = false;
  #mayBegin = true;
  #wasToldToGo = false;
  #isClosed = false;
  #awaitsPermit: boolean;
  #closing: NodeJS.Timeout | undefined;
  /** What it printed before it was permitted, in order, and the sink has not taken yet. */
  readonly #kept: { stream: OutputStream; bytes: Buffer }[] = [];
  #keptBytes = 0;
  #mayKeepBytes = maxKeptBytes;
  #onPermit: () => void = () => {};
  #onReportOrEnd: () => void = () => {};
  #onAllTaken: () => void = () => {};
  #onReport: (report: BootstrapReport | undefined) => void = () => {};

  /**
   * Sends the script. In a terminal the command may start at once; otherwise it starts after the report and the word.
   */
  constructor(
    pooled: PooledChannel<ClientChannel>,
    input: ScriptInput,
    sink: OutputSink,
    {
      isMarked = false,
      needsMarker = false,
      asksLoginShell = false,
      awaitsPermit = false,
      beginWithinMs = 120_000,
      leftWithinMs = 1_000,
    }: CommandOnChannelOptions = {},
  ) {
    this.#channel = pooled.channel;
    this.#leftWithinMs = leftWithinMs;
    this.#connection = pooled.connection;
    this.#sink = sink;
    this.inTerminal = input.pty === true;
    this.#awaitsPermit = awaitsPermit;
    this.#filter = new ReportFilter(this.#nonce);
    this.reported = new Promise((resolve) => {
      this.#onReport = resolve;
    });
    this.ended = this.#listen();
    // Errors of the channel are writes to a shell that ended early; its exit tells us the same.
    this.#channel.on('error', () => {});
    const sent = attemptScript(input, this.#nonce, { isMarked, needsMarker, asksLoginShell });
    // The input is ended with the word; never in a terminal, where an EOF on the channel doesn't end the input.
    const taken = new Promise<void>((resolve) => this.#channel.write(sent, () => resolve()));
    const permitted = awaitsPermit ? this.#untilPermitted() : undefined;
    this.late = this.inTerminal
      ? new Promise(() => undefined)
      : this.#becomesLate(Promise.all([taken, permitted]), beginWithinMs);
  }

  get report(): BootstrapReport | undefined {
    const { report } = this.#filter;
    return report?.kind === 'started' && this.neverBegan ? undefined : report;
  }

  /**
   * Returns whether a shell that has exited while awaiting its permit has reported why it can't begin the command. The
   * report comes on another stream than the exit, and behind output that may not have been read yet.
   */
  async hasRefused(signal: AbortSignal): Promise<boolean> {
    if (this.#filter.report === undefined) await this.#readOn(signal, this.#leftWithinMs);
    const { report } = this.#filter;
    return report !== undefined && report.kind !== 'started';
  }

  /**
   * Returns whether the shell reports while it awaits its permit. It is given this time for that, in ms; if it exits, the
   * report may still be in transit.
   */
  async answers(signal: AbortSignal, withinMs: number): Promise<boolean> {
    if (this.#filter.report === undefined && !this.exited) await this.#readOn(signal, withinMs);
    if (this.#filter.report === undefined && this.exited) await this.#readOn(signal, this.#leftWithinMs);
    return this.#filter.report !== undefined;
  }

  get neverBegan(): boolean {
    return !this.inTerminal && !this.#wasToldToGo;
  }

  /** Reads until the report is found, the shell exits, the channel closes, time is up or the signal aborts. */
  #readOn(signal: AbortSignal, withinMs: number): Promise<void> {
    return new Promise((resolve) => {
      const finish = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', finish);
        resolve();
      };
      const timer = setTimeout(finish, withinMs);
      signal.addEventListener('abort', finish);
      this.#onReportOrEnd = finish;
      if (signal.aborted || this.#isClosed) finish();
      this.#mayKeepBytes = maxLeftBytes;
      this.#resume();
    });
  }

  #untilPermitted(): Promise<void> {
    return new Promise((resolve) => {
      this.#onPermit = resolve;
    });
  }

  async #becomesLate(taken: Promise<unknown>, withinMs: number): Promise<number> {
    await taken;
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        if (!this.neverBegan) return;
        this.callOff();
        resolve(withinMs / 1000);
      }, withinMs);
      this.reported.then(() => clearTimeout(timer));
    });
  }

  /** Lets the command begin as soon as its shell has reached it. Begins nothing if the shell has gone. */
  permit(): void {
    this.#awaitsPermit = false;
    this.#onPermit();
    this.#handOnKept();
    if (!this.#paused) this.#resume();
    const { report } = this.#filter;
    if (report !== undefined) this.#hear(report);
    if (this.exited) this.#letGoOfGone();
  }

  callOff(): void {
    if (!this.neverBegan || !this.#mayBegin) return;
    this.#mayBegin = false;
    this.#channel.end();
  }

  /** Whether the command's shell has ended. */
  get exited(): boolean {
    return this.#endedAt !== undefined;
  }

  /**
   * Whether the word may still reach the shell. The report may be read long after it arrived, when the shell is gone.
   */
  get #isThere(): boolean {
    return !this.#isClosed && !this.exited && this.#connection.open;
  }

  get executionTimeMs(): number | undefined {
    if (this.#startedAt === undefined) return undefined;
    // At least 0, because the exit can be read before the report of the start, which comes on another stream.
    return Math.max(0, Math.round((this.#endedAt ?? performance.now()) - this.#startedAt));
  }

  /**
   * Drops output from now on while the sink has no room: a command that is blocked on its output could not be ended.
   */
  stopBlocking(): void {
    this.#stopping = true;
    this.#handOnKept();
    this.#resume();
  }

  close(): void {
    this.#channel.close();
  }

  async #listen(): Promise<CommandEnd> {
    const { stderr } = this.#channel;
    this.#channel.on('data', (bytes: Buffer) =>
      this.inTerminal ? this.#writeFiltered('stdout', bytes) : this.#write('stdout', bytes),
    );
    stderr.on('data', (bytes: Buffer) => this.#writeFiltered('stderr', bytes));
    const onExit = ({ code, signal }: ChannelExit) => {
      this.#endedAt = performance.now();
      this.#end = code === null ? { signal: signal ?? '' } : { exitCode: code };
      this.#letGoOfGone();
      this.#onReportOrEnd();
    };
    // A login shell may have ended before anything was sent.
    const early = exitOf(this.#channel);
    if (early !== undefined) onExit(early);
    else this.#channel.once('exit', (...exit: [number | null, string?]) => onExit(channelExit(...exit)));
    await Promise.all([
      new Promise((resolve) => this.#channel.once('close', resolve)),
      new Promise((resolve) => stderr.once('close', resolve)),
    ]);
    for (const bytes of this.#filter.flush()) this.#write(this.inTerminal ? 'stdout' : 'stderr', bytes);
    const connectionLost = !this.#connection.open;
    this.#isClosed = true;
    clearTimeout(this.#closing);
    this.#onReportOrEnd();
    this.#onReport(this.report);
    await new Promise<void>((resolve) => {
      this.#onAllTaken = resolve;
      this.#handOnKept();
    });
    this.over = true;
    return { ...this.#end, connectionLost };
  }

  #writeFiltered(stream: OutputStream, bytes: Buffer): void {
    const known = this.#filter.report !== undefined;
    for (const part of this.#filter.push(bytes)) this.#write(stream, part);
    const { report } = this.#filter;
    if (known || report === undefined) return;
    this.#onReportOrEnd();
    if (!this.#awaitsPermit) this.#hear(report);
  }

  #hear(report: BootstrapReport): void {
    if (report.kind === 'started') this.#begin();
    if (report.kind !== 'started' || this.neverBegan) this.#letGoSoon();
    this.#onReport(this.report);
  }

  /** Closes the channel soon. For a shell that will no longer begin anything. */
  #letGoSoon(): void {
    if (!this.#isClosed) this.#closing ??= setTimeout(() => this.close(), this.#leftWithinMs);
  }

  /**
   * Closes the channel soon if the shell ended without the word; the reason for it may still be in transit. Not needed
   * in a terminal, where everything ends with the first shell.
   */
  #letGoOfGone(): void {
    if (this.neverBegan && !this.#awaitsPermit) this.#letGoSoon();
  }

  #begin(): void {
    if (this.inTerminal) {
      this.#startedAt = performance.now();
    } else if (this.#mayBegin && this.#isThere) {
      this.#startedAt = performance.now();
      this.#wasToldToGo = true;
      this.#channel.end(wordFor(this.#nonce));
      // Behind the word, which leaves at the end of this turn.
      setImmediate(() => this.#sink.expect?.());
    }
  }

  #write(stream: OutputStream, bytes: Buffer): void {
    if (!this.#awaitsPermit && this.#kept.length === 0) {
      this.#give(stream, bytes);
      return;
    }
    this.#kept.push({ stream, bytes });
    this.#keptBytes += bytes.length;
    if (this.#keptBytes > this.#mayKeepBytes) this.#pause();
  }

  /** Passes kept output on as far as the sink has room, or all of it once the command is being stopped. */
  #handOnKept(): void {
    if (this.#awaitsPermit) return;
    while (!this.#paused || this.#stopping) {
      const next = this.#kept.shift();
      if (next === undefined) break;
      this.#keptBytes -= next.bytes.length;
      this.#give(next.stream, next.bytes);
    }
    if (this.#kept.length === 0) this.#onAllTaken();
  }

  #give(stream: OutputStream, bytes: Buffer): void {
    if (this.#paused && this.#stopping) {
      this.discardedBytes += bytes.length;
      return;
    }
    const hasRoom = this.#sink.write(stream, bytes);
    freePacket(bytes);
    if (hasRoom || this.#paused) return;
    this.#paused = true;
    if (!this.#stopping) this.#pause();
    const goOn = () => {
      this.#paused = false;
      this.#handOnKept();
      if (!this.#paused) this.#resume();
    };
    this.#sink.drained().then(goOn, goOn);
  }

  #pause(): void {
    this.#channel.pause();
    this.#channel.stderr.pause();
  }

  #resume(): void {
    this.#channel.resume();
    this.#channel.stderr.resume();
  }
}
