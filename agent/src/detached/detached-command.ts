// One command that survives its agent: its start, its output from any position on, and its end. Connections may come
// and go; only the target's own statement ends it.
import { performance } from 'node:perf_hooks';
import type { ClientChannel } from 'ssh2';
import type { Become } from '../ssh/become/become.ts';
import { plainShellFor } from '../ssh/become/become-shell.ts';
import { exitOf, type SshConnection } from '../ssh/connection.ts';
import { isRefusedLogin, pauseAfterRefusal } from '../ssh/login/refused-login.ts';
import { freePacket } from '../ssh/packets/packet-memory.ts';
import type { OpenRequest, PooledChannel, SshPool } from '../ssh/pool/pool.ts';
import { type BootstrapReport, newNonce } from '../steps/ssh-exec/bootstrap-report.ts';
import type { CommandEnd, RunningCommand } from '../steps/ssh-exec/command-on-channel.ts';
import type { KeptOutput, OutputSink, OutputStream } from '../steps/step-type.ts';
import { pauseAtMost } from '../timing/pause.ts';
import { type MeasuredUse, measuredUse } from './measured-use.ts';
import { type ReadEvent, ReadStream, type RefusedEvent } from './read-stream.ts';
import { SilenceWatch, silentAfterMs } from './silence-watch.ts';
import type { StopNote } from './stop-note.ts';
import { readScript, stopNote } from './supervisor-script.ts';

/**
 * Interval, in ms, of checks whether to tell the target how much output is stored: at once if it is a lot, because the
 * command may be waiting for that, otherwise every `ackEveryLooks` checks.
 */
const lookMs = 100;
const ackEveryLooks = 10;
const ackAtOnceBytes = 4 * 1024 * 1024;
/**
 * Time for more output to arrive from a shell that has ended, in ms. A process that a startup file left running may
 * hold the channel open indefinitely.
 */
const leftWithinMs = 1_000;
/** A ping makes the reader check whether its supervisor is alive. */
const pingEveryAcks = 15;
const maxPauseMs = 10_000;
/** The number of lines there are: two of times, one of memory. */
const maxUseLines = 3;
/** How often a directory that is not ready yet is checked again. */
const maxEarly = 12;
/** How often the target is asked whether a start arrived, if its shells end without saying anything. */
const maxMute = 5;
/** The same if each of its shells is ended by a signal: that takes a minute, in which a shortage may be over. */
const maxKilled = 12;

/** Why the end of the command is not known. */
export type NoEnd =
  | RefusedEvent
  | { is: 'exists' | 'never' | 'taken' | 'rebooted' | 'supervisor' | 'mute' | 'closed' }
  /** How the last shell ended, for example `signal SEGV`. */
  | { is: 'killed'; how: string };

/**
 * `mute`: a shell ended by itself without answering what it was sent. `killed`: it was ended, as the one for the start
 * was.
 */
type ChannelEnd = ReadEvent | { is: 'mute' } | { is: 'killed'; how: string } | undefined;

export interface DetachedCommandOptions {
  pool: SshPool;
  request: Omit<OpenRequest, 'signal' | 'urgent' | 'fresh'>;
  name: string;
  become: Become | undefined;
  sink: OutputSink;
  kept: KeptOutput;
  /** When it began, on the clock of `performance.now()`, if an earlier process began it. */
  begunAtMs?: number;
  /** How often it has been taken over; 0 for the agent that began it. */
  collector?: number;
  /** See `StepContext`. */
  onSilence?: ((heardAtMs: number | undefined) => void) | undefined;
  /** The channel whose shell is to start it; if left out, a running command is looked for. */
  start?: { pooled: PooledChannel<ClientChannel>; script: Buffer; nonce: string };
}

export class DetachedCommand implements RunningCommand {
  readonly ended: Promise<CommandEnd>;
  readonly reported: Promise<BootstrapReport | undefined>;
  /** Resolves once the target has said that it runs, or why it doesn't. */
  readonly begun: Promise<void>;
  report: BootstrapReport | undefined;
  over = false;
  discardedBytes = 0;
  noEnd: NoEnd | undefined;
  /** Streams whose remaining output the target's disk had no room for. */
  readonly cutStreams: OutputStream[] = [];
  /** The connection it was last seen on. */
  seenOn: { connection: SshConnection; reused: boolean } | undefined;
  readonly #options: DetachedCommandOptions;
  #code: number | undefined;
  /** The last lines of measurements that arrived. */
  #used: string[] = [];
  #startedAt: number | undefined;
  #endedAt: number | undefined;
  #stopping = false;
  #stoppedFor: StopNote | undefined;
  #paused = false;
  /** Whether we closed the last channel because its shell had ended and nothing more came: there may have been more. */
  #isLetGo = false;
  #isStartMute = false;
  /** How the shell for the start was ended, for example `signal SEGV`, if it was before it had answered. */
  #startKilled: string | undefined;
  readonly #closed = new AbortController();
  readonly #silence: SilenceWatch;
  /** The channel whose bytes are used. What an earlier channel still holds is sent again on this one. */
  #reading: ClientChannel | undefined;
  #onReport: (report: BootstrapReport | undefined) => void = () => {};
  #onBegun: () => void = () => {};

  constructor(options: DetachedCommandOptions) {
    this.#options = options;
    this.#silence = new SilenceWatch({
      limitMs: silentAfterMs(options.request.target),
      wasReported: options.start === undefined,
      report: (heardAtMs) => options.onSilence?.(heardAtMs),
    });
    this.reported = new Promise((resolve) => {
      this.#onReport = resolve;
    });
    this.begun = new Promise((resolve) => {
      this.#onBegun = resolve;
    });
    this.#startedAt = options.begunAtMs;
    this.ended = this.#follow();
  }

  get exited(): boolean {
    return this.#endedAt !== undefined;
  }

  get executionTimeMs(): number | undefined {
    if (this.#startedAt === undefined) return undefined;
    return Math.max(0, Math.round((this.#endedAt ?? performance.now()) - this.#startedAt));
  }

  /** CPU time and memory, as measured on the target. */
  get use(): MeasuredUse {
    return measuredUse(this.#used);
  }

  stopBlocking(): void {
    this.#stopping = true;
    this.#reading?.resume();
  }

  stopNote(marker: string, why: StopNote): string {
    return stopNote(marker, why);
  }

  close(): void {
    if (!this.over) this.noEnd ??= { is: 'closed' };
    this.#closed.abort();
  }

  async #follow(): Promise<CommandEnd> {
    try {
      return await this.#readToEnd();
    } finally {
      this.#silence.close();
    }
  }

  async #readToEnd(): Promise<CommandEnd> {
    let start = this.#options.start;
    let early = 0;
    let mute = 0;
    let killed = 0;
    let refusals = 0;
    for (let tries = 0; !this.#closed.signal.aborted && !this.#options.pool.isClosed; tries += 1) {
      let refusedPauseMs: number | undefined;
      try {
        const seen = this.#options.kept.written();
        const last = await this.#readOnce(start, tries > 1);
        refusals = 0;
        if (last?.is === 'mute') mute += 1;
        else if (last?.is === 'killed') {
          killed += 1;
          if (killed > maxKilled) {
            this.noEnd = last;
            return this.#end(undefined);
          }
        } else if (last?.is === 'early') {
          early += 1;
          // The target has answered, so it is not mute.
          mute = 0;
        } else if (last !== undefined) return this.#end(last);
        if (early > maxEarly) return this.#end({ is: 'lost', why: 'supervisor' });
        if (mute > maxMute) {
          this.noEnd = { is: 'mute' };
          return this.#end(undefined);
        }
        const now = this.#options.kept.written();
        if (now.stdout + now.stderr > seen.stdout + seen.stderr) tries = 0;
      } catch (error) {
        // Out of reach, or its answer made no sense: ask again until the step's time is up.
        if (isRefusedLogin(error)) {
          refusedPauseMs = pauseAfterRefusal(refusals);
          refusals += 1;
        }
      }
      start = undefined;
      const pauseMs = refusedPauseMs ?? Math.min(100 * 2 ** Math.min(tries, 10), maxPauseMs);
      await pauseAtMost(pauseMs, this.#closed.signal);
    }
    this.noEnd ??= { is: 'closed' };
    return this.#end(undefined);
  }

  #end(last: ReadEvent | undefined): CommandEnd {
    if (last?.is === 'refused') this.noEnd = last;
    else if (last?.is === 'never' && this.#startKilled !== undefined)
      this.noEnd = refusedByEnd(this.#startKilled, 'was ended before it had read what was sent');
    else if (last?.is === 'exists' || last?.is === 'never' || last?.is === 'taken')
      this.noEnd = { is: last.is };
    else if (last?.is === 'lost') this.noEnd = { is: last.why };
    this.over = true;
    this.#onReport(this.report);
    this.#onBegun();
    const code = this.#code;
    if (code === undefined) return { connectionLost: true };
    const stoppedFor = this.#stoppedFor === undefined ? {} : { stoppedFor: this.#stoppedFor };
    const isStopped = this.#stopping || this.#stoppedFor !== undefined;
    // A shell reports a child's signal as 128 plus its number. For a stopped command it is certain that this is meant.
    if (isStopped && code === 143) return { signal: 'TERM', ...stoppedFor, connectionLost: false };
    if (isStopped && code === 137) return { signal: 'KILL', ...stoppedFor, connectionLost: false };
    return { exitCode: code, ...stoppedFor, connectionLost: false };
  }

  /**
   * Reads on one channel. Resolves with the event that ends the command, or with undefined if only the channel ended.
   */
  async #readOnce(start: DetachedCommandOptions['start'], fresh: boolean): Promise<ChannelEnd> {
    const { pool, request, name, become, kept, collector = 0 } = this.#options;
    const signal = this.#closed.signal;
    const nonce = start?.nonce ?? newNonce();
    const pooled = start?.pooled ?? (await pool.open({ ...request, fresh, signal }, plainShellFor(become)));
    const onClose = () => pooled.channel.close();
    signal.addEventListener('abort', onClose);
    const timer = this.#keepTelling(pooled.channel);
    try {
      pooled.channel.write(start?.script ?? readScript({ name, nonce, collector, ...kept.written() }));
      const last = await this.#listen(pooled, new ReadStream(nonce));
      return last ?? this.#endOfShell(pooled, start !== undefined);
    } finally {
      clearInterval(timer);
      signal.removeEventListener('abort', onClose);
      this.#leave(pooled.channel);
      pooled.release();
    }
  }

  /** Closes a channel and drains it: a paused channel holds up to its window, and its close would wait behind that. */
  #leave(channel: ClientChannel): void {
    this.#reading = undefined;
    channel.removeAllListeners('data');
    channel.resume();
    channel.close();
  }

  /** Interprets the end of a shell that didn't answer: one that ended by itself was not a shell that reads a script. */
  #endOfShell(pooled: PooledChannel<ClientChannel>, isStart: boolean): ChannelEnd {
    const { channel, connection } = pooled;
    const exit = exitOf(channel);
    if (!connection.open || this.seenOn !== undefined || exit === undefined) return undefined;
    const { code } = exit;
    // Codes from 128 mean that a signal ended it, possibly at any moment.
    if (code === null || code >= 128) {
      const how = code === null ? `signal ${exit.signal}` : `exit code ${code}`;
      if (isStart) this.#startKilled = how;
      if (this.#startKilled === undefined) return undefined;
      // The next login may have other limits.
      pooled.retire();
      return { is: 'killed', how };
    }
    // Later shells only say something about the start if that ended in the same way.
    if (!isStart) return this.#isStartMute && code === 0 ? { is: 'mute' } : undefined;
    // A shell that has read the script also ends with 0, as does one that left the script to the process that holds its
    // output. In that case the target is asked.
    this.#isStartMute = code === 0 && this.#isLetGo;
    if (this.#isStartMute) return { is: 'mute' };
    return refusedByEnd(`exit code ${code}`, 'ended without reading what was sent');
  }

  /** Keeps telling the target how much output the server has stored, so that the target can delete that. */
  #keepTelling(channel: ClientChannel): NodeJS.Timeout {
    let told = 0;
    let looks = 0;
    return setInterval(() => {
      const { stdout, stderr } = this.#options.kept.confirmed();
      const confirmed = stdout + stderr;
      looks += 1;
      const isTime = looks % ackEveryLooks === 0;
      if (confirmed >= told + (isTime ? 1 : ackAtOnceBytes)) {
        channel.write(`ack ${stdout} ${stderr}\n`);
        told = confirmed;
      } else if (looks % (ackEveryLooks * pingEveryAcks) === 0) channel.write('ping\n');
    }, lookMs);
  }

  async #listen(pooled: PooledChannel<ClientChannel>, stream: ReadStream): Promise<ReadEvent | undefined> {
    const { channel } = pooled;
    this.#reading = channel;
    this.#paused = false;
    this.#isLetGo = false;
    let quiet: NodeJS.Timeout | undefined;
    const onExit = () => {
      quiet = setTimeout(() => {
        // A paused channel may hold more output.
        if (channel.isPaused()) return void quiet?.refresh();
        this.#isLetGo = true;
        channel.close();
      }, leftWithinMs);
    };
    try {
      return await new Promise<ReadEvent | undefined>((resolve, reject) => {
        channel.on('data', (bytes: Buffer) => {
          quiet?.refresh();
          try {
            for (const event of stream.push(bytes)) {
              const last = this.#take(event, pooled);
              if (last !== undefined) resolve(last);
            }
            freePacket(bytes);
          } catch (error) {
            reject(error);
          }
        });
        channel.stderr.resume();
        channel.on('error', () => {});
        channel.once('close', () => resolve(undefined));
        pooled.connection.closed.then(() => resolve(undefined));
        if (exitOf(channel) === undefined) channel.once('exit', onExit);
        else onExit();
      });
    } finally {
      channel.off('exit', onExit);
      clearTimeout(quiet);
    }
  }

  #take(event: ReadEvent, pooled: PooledChannel<ClientChannel>): ReadEvent | undefined {
    switch (event.is) {
      case 'begin':
        this.seenOn = pooled;
        this.#silence.follow(pooled.connection);
        this.#onBegun();
        return undefined;
      case 'output':
        this.#write(event.stream, event.bytes, pooled.channel);
        return undefined;
      case 'report':
        this.report ??= event.report;
        this.#startedAt ??= performance.now();
        this.#onReport(event.report);
        return undefined;
      case 'stopped':
        this.#stoppedFor = event.why;
        return undefined;
      case 'used':
        this.#used = [...this.#used, event.line].slice(-maxUseLines);
        return undefined;
      case 'exit':
        this.#endedAt ??= performance.now();
        this.#code = event.code;
        return undefined;
      case 'full':
        if (!this.cutStreams.includes(event.stream)) this.cutStreams.push(event.stream);
        return undefined;
      default:
        return event;
    }
  }

  #write(stream: OutputStream, bytes: Buffer, channel: ClientChannel): void {
    const { sink } = this.#options;
    if (this.#paused && this.#stopping) {
      this.discardedBytes += bytes.length;
      return;
    }
    if (sink.write(stream, bytes) || this.#paused) return;
    this.#paused = true;
    if (!this.#stopping) channel.pause();
    const goOn = () => {
      if (this.#reading !== channel) return;
      this.#paused = false;
      channel.resume();
    };
    sink.drained().then(goOn, goOn);
  }
}

/** @param how for example `exit code 1` */
function refusedByEnd(how: string, what: string): RefusedEvent {
  return { is: 'refused', why: `its login shell ${what} (${how})`, shellEnded: how };
}
