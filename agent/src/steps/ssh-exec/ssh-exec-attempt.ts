// One command running on one channel: its report, its output under back-pressure, its end.
import { performance } from 'node:perf_hooks';
import type { ClientChannel } from 'ssh2';
import type { StopNote } from '../../detached/stop-note.ts';
import { type ChannelExit, channelExit, exitOf, type SshConnection } from '../../ssh/connection.ts';
import type { Lease } from '../../ssh/pool/pool.ts';
import type { OutputSink, OutputStream } from '../step-type.ts';
import { type BootstrapReport, newNonce, ReportFilter } from './bootstrap-report.ts';
import { attemptScript, goAhead, markerLine, type ScriptInput } from './ssh-exec-script.ts';

export interface AttemptEnd {
  exitCode?: number;
  /** Without SIG. */
  signal?: string;
  /** It did not end by itself: somebody had it ended for this, who did not come to tell. */
  stoppedFor?: StopNote;
  /** Whether the channel went down with its connection, so that output may be missing. */
  connectionLost: boolean;
}

/** What there is to know and to do about a command that runs, whichever way its agent is connected to it. */
export interface RunningCommand {
  readonly ended: Promise<AttemptEnd>;
  readonly reported: Promise<BootstrapReport | undefined>;
  readonly report: BootstrapReport | undefined;
  readonly over: boolean;
  readonly exited: boolean;
  readonly discardedBytes: number;
  readonly executionTimeMs: number | undefined;
  /** That nothing of it ran, for certain: it waits for our word, and was not given it. */
  readonly neverBegan?: boolean;
  /** Resolves when its shell has had the whole script for so many seconds, and has not got to the command; then it is not given that word any more. */
  readonly late?: Promise<number>;
  /** It is not given that word any more. */
  callOff?(): void;
  stopBlocking(): void;
  /** Shell text that leaves word on the target of why it is being ended, where somebody else may collect it. */
  stopNote?(marker: string, why: StopNote): string;
  close(): void;
}

export interface CommandOnChannelOptions {
  /** The shell has been sent the marker's line. */
  isMarked?: boolean;
  /** The command waits for `permit` as well, and what the shell prints is kept till then. Not in a terminal, where nothing waits. */
  awaitsPermit?: boolean;
  /** For a shell that has the script to get to the command, in ms; two minutes unless told. What takes its place and reads its input, as a forced command may, never does. */
  beginWithinMs?: number;
  /** For the rest of what a shell that has exited has printed to arrive, in ms; a second unless told. What a startup file has left running may hold the channel open for as long as it likes. */
  leftWithinMs?: number;
}

/** Kept of what a shell prints by itself, as its startup files may, before its command is permitted. */
const maxKeptBytes = 256 * 1024;
/** The same of one that has exited: twice what may be on its way. */
const maxLeftBytes = 4 * 1024 * 1024;

export class CommandOnChannel implements RunningCommand {
  /** Resolves when the channel is closed and all its output is taken, or when the connection is gone; not before a permit that it awaits. */
  readonly ended: Promise<AttemptEnd>;
  /** Resolves with the bootstrap's report; with undefined when the channel ended without one. */
  readonly reported: Promise<BootstrapReport | undefined>;
  /** Whether `ended` has resolved. */
  over = false;
  /** Bytes that the sink had no room for after a stop. */
  discardedBytes = 0;
  readonly late: Promise<number>;
  readonly #channel: ClientChannel;
  readonly #leftWithinMs: number;
  readonly #connection: Pick<SshConnection, 'open'>;
  readonly #sink: OutputSink;
  readonly #nonce = newNonce();
  /** Whether its report comes with what it prints. */
  readonly inTerminal: boolean;
  readonly #filter: ReportFilter;
  #end: Omit<AttemptEnd, 'connectionLost'> = {};
  #startedAt: number | undefined;
  #endedAt: number | undefined;
  #paused = false;
  #stopping = false;
  #mayBegin = true;
  #wasToldToGo = false;
  #isClosed = false;
  #awaitsPermit: boolean;
  #closing: NodeJS.Timeout | undefined;
  /** What it printed before it was permitted, in order, as far as the sink has not had room for it. */
  readonly #kept: { stream: OutputStream; bytes: Buffer }[] = [];
  #keptBytes = 0;
  #mayKeepBytes = maxKeptBytes;
  #onPermit: () => void = () => {};
  #onReportOrClose: () => void = () => {};
  #onAllTaken: () => void = () => {};
  #onReport: (report: BootstrapReport | undefined) => void = () => {};

  /** Sends the script. In a terminal the command may have started from here on, else from when the shell has reported. */
  constructor(
    lease: Lease<ClientChannel>,
    input: ScriptInput,
    sink: OutputSink,
    {
      isMarked = false,
      awaitsPermit = false,
      beginWithinMs = 120_000,
      leftWithinMs = 1_000,
    }: CommandOnChannelOptions = {},
  ) {
    this.#channel = lease.channel;
    this.#leftWithinMs = leftWithinMs;
    this.#connection = lease.connection;
    this.#sink = sink;
    this.inTerminal = input.pty === true;
    this.#awaitsPermit = awaitsPermit;
    this.#filter = new ReportFilter(this.#nonce);
    this.reported = new Promise((resolve) => {
      this.#onReport = resolve;
    });
    this.ended = this.#listen();
    // The channel's own errors are writes to a shell that ended early; its exit says the same.
    this.#channel.on('error', () => {});
    const script = attemptScript(input, this.#nonce);
    const sent = isMarked ? script.subarray(markerLine(input.marker).length) : script;
    // The end of input comes with the word, and not in a terminal, to which it is none.
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
   * Of one that awaits its permit and whose shell has exited: whether it has said why it can't begin the command. That comes on another stream
   * than the exit, and behind what was not read on.
   */
  async hasRefused(signal: AbortSignal): Promise<boolean> {
    if (this.#filter.report === undefined) await this.#readWhatIsLeft(signal);
    const { report } = this.#filter;
    return report !== undefined && report.kind !== 'started';
  }

  get neverBegan(): boolean {
    return !this.inTerminal && !this.#wasToldToGo;
  }

  /** Until its report is found, or nobody wants to know it any more. */
  #readWhatIsLeft(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const finish = () => {
        clearTimeout(timer);
        signal.removeEventListener('abort', finish);
        resolve();
      };
      const timer = setTimeout(finish, this.#leftWithinMs);
      signal.addEventListener('abort', finish);
      this.#onReportOrClose = finish;
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

  /** The command may begin: it does when its shell has got to it. Of one whose shell has gone nothing begins. */
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

  /** Whether the word may still reach its shell, of which the report may be read long after it came. */
  get #isThere(): boolean {
    return !this.#isClosed && !this.exited && this.#connection.open;
  }

  get executionTimeMs(): number | undefined {
    if (this.#startedAt === undefined) return undefined;
    // The exit can be read before the report of the start, which comes on another stream.
    return Math.max(0, Math.round((this.#endedAt ?? performance.now()) - this.#startedAt));
  }

  /** From now on output is dropped while the sink has no room: the target can't end what it can't get rid of. */
  stopBlocking(): void {
    this.#stopping = true;
    this.#handOnKept();
    this.#resume();
  }

  close(): void {
    this.#channel.close();
  }

  async #listen(): Promise<AttemptEnd> {
    const { stderr } = this.#channel;
    this.#channel.on('data', (bytes: Buffer) =>
      this.inTerminal ? this.#writeFiltered('stdout', bytes) : this.#write('stdout', bytes),
    );
    stderr.on('data', (bytes: Buffer) => this.#writeFiltered('stderr', bytes));
    const onExit = ({ code, signal }: ChannelExit) => {
      this.#endedAt = performance.now();
      this.#end = code === null ? { signal: signal ?? '' } : { exitCode: code };
      this.#letGoOfGone();
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
    this.#onReportOrClose();
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
    this.#onReportOrClose();
    if (!this.#awaitsPermit) this.#hear(report);
  }

  #hear(report: BootstrapReport): void {
    if (report.kind === 'started') this.#begin();
    if (report.kind !== 'started' || this.neverBegan) this.#letGoSoon();
    this.#onReport(this.report);
  }

  /** Of a shell that begins nothing any more. */
  #letGoSoon(): void {
    if (!this.#isClosed) this.#closing ??= setTimeout(() => this.close(), this.#leftWithinMs);
  }

  /** Of one that has ended without the word: why may still be on its way. In a terminal all that is in it ends with its first shell. */
  #letGoOfGone(): void {
    if (this.neverBegan && !this.#awaitsPermit) this.#letGoSoon();
  }

  #begin(): void {
    if (this.inTerminal) {
      this.#startedAt = performance.now();
    } else if (this.#mayBegin && this.#isThere) {
      this.#startedAt = performance.now();
      this.#wasToldToGo = true;
      this.#channel.end(goAhead(this.#nonce));
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

  /** As far as the sink has room; of a stopped one all of it. */
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
    if (this.#sink.write(stream, bytes) || this.#paused) return;
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
