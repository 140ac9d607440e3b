// One command that goes on without us on its target: its start, its output from wherever it is to be read on, its end.
// Connections come and go meanwhile; only a target that says so itself ends it.
import { performance } from 'node:perf_hooks';
import type { ClientChannel } from 'ssh2';
import type { Become } from '../ssh/become/become.ts';
import { plainShellFor } from '../ssh/become/become-shell.ts';
import { exitOf, type SshConnection } from '../ssh/connection.ts';
import type { Lease, OpenRequest, SshPool } from '../ssh/pool/pool.ts';
import { type BootstrapReport, newNonce } from '../steps/ssh-exec/bootstrap-report.ts';
import type { AttemptEnd, RunningCommand } from '../steps/ssh-exec/ssh-exec-attempt.ts';
import type { KeptOutput, OutputSink, OutputStream } from '../steps/step-type.ts';
import { type MeasuredUse, measuredUse } from './measured-use.ts';
import { type ReadEvent, ReadStream, type RefusedEvent } from './read-stream.ts';
import type { StopNote } from './stop-note.ts';
import { readScript, stopNote } from './supervisor-script.ts';

/** Between looks whether the target is to be told how far the output is stored: at once when it is much, which it may wait for. */
const lookMs = 100;
const ackEveryLooks = 10;
const ackAtOnceBytes = 4 * 1024 * 1024;
/** For more to arrive of a shell that has ended. What a startup file has left running may hold the channel open for as long as it likes. */
const leftWithinMs = 1_000;
/** Makes the reader look whether its supervisor is alive. */
const pingEveryAcks = 15;
const maxPauseMs = 10_000;
/** As many as there are: two of times, one of memory. */
const maxUseLines = 3;
/** How often a directory without a supervisor is looked at again. */
const maxEarly = 12;
/** How often the target is asked whether a start has arrived, where its shells end without a word. */
const maxMute = 5;

/** Why there is no end to tell. */
export type NoEnd =
  | RefusedEvent
  | { is: 'exists' | 'never' | 'taken' | 'rebooted' | 'supervisor' | 'mute' | 'closed' };

/** `mute`: a shell has ended by itself, and said nothing of what it was sent. */
type ChannelEnd = ReadEvent | { is: 'mute' } | undefined;

export interface DetachedCommandOptions {
  pool: SshPool;
  request: Omit<OpenRequest, 'signal' | 'urgent' | 'fresh'>;
  name: string;
  become: Become | undefined;
  sink: OutputSink;
  kept: KeptOutput;
  /** When it was begun, where an earlier process did that. */
  begunAt?: Date;
  /** How often another agent has taken it up; 0 for the one that began it. */
  collector?: number;
  /** The channel whose shell is to start it; without one it is looked for. */
  start?: { lease: Lease<ClientChannel>; script: Buffer; nonce: string };
}

export class DetachedCommand implements RunningCommand {
  readonly ended: Promise<AttemptEnd>;
  readonly reported: Promise<BootstrapReport | undefined>;
  /** Resolves once the target has said that it runs, or why it does not. */
  readonly begun: Promise<void>;
  report: BootstrapReport | undefined;
  over = false;
  discardedBytes = 0;
  noEnd: NoEnd | undefined;
  /** Streams whose rest the target had no room for. */
  readonly cutStreams: OutputStream[] = [];
  /** The connection it was last seen on. */
  seenOn: { connection: SshConnection; reused: boolean } | undefined;
  readonly #options: DetachedCommandOptions;
  #code: number | undefined;
  /** Of the last channel that told of the end: what was measured, line by line. */
  #used: string[] = [];
  #startedAt: number | undefined;
  #endedAt: number | undefined;
  #stopping = false;
  #stoppedFor: StopNote | undefined;
  #paused = false;
  /** The last channel was closed by us, as its shell had ended and nothing more came: there may have been more. */
  #isLetGo = false;
  #isStartMute = false;
  readonly #closed = new AbortController();
  /** The one whose bytes are the output's: what an earlier one still has is sent again. */
  #reading: ClientChannel | undefined;
  #onReport: (report: BootstrapReport | undefined) => void = () => {};
  #onBegun: () => void = () => {};

  constructor(options: DetachedCommandOptions) {
    this.#options = options;
    this.reported = new Promise((resolve) => {
      this.#onReport = resolve;
    });
    this.begun = new Promise((resolve) => {
      this.#onBegun = resolve;
    });
    if (options.begunAt !== undefined)
      this.#startedAt = performance.now() - Math.max(0, Date.now() - options.begunAt.getTime());
    this.ended = this.#follow();
  }

  get exited(): boolean {
    return this.#endedAt !== undefined;
  }

  get executionTimeMs(): number | undefined {
    if (this.#startedAt === undefined) return undefined;
    return Math.max(0, Math.round((this.#endedAt ?? performance.now()) - this.#startedAt));
  }

  /** What its target has measured of it. */
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

  async #follow(): Promise<AttemptEnd> {
    let start = this.#options.start;
    let early = 0;
    let mute = 0;
    for (let tries = 0; !this.#closed.signal.aborted && !this.#options.pool.isClosed; tries += 1) {
      try {
        const seen = this.#options.kept.written();
        const last = await this.#readOnce(start, tries > 1);
        if (last?.is === 'mute') mute += 1;
        else if (last?.is === 'early') {
          early += 1;
          // Who has answered is none that says nothing.
          mute = 0;
        } else if (last !== undefined) return this.#end(last);
        if (early > maxEarly) return this.#end({ is: 'lost', why: 'supervisor' });
        if (mute > maxMute) {
          this.noEnd = { is: 'mute' };
          return this.#end(undefined);
        }
        const now = this.#options.kept.written();
        if (now.stdout + now.stderr > seen.stdout + seen.stderr) tries = 0;
      } catch {
        // Out of reach, or what it printed made no sense: it is asked again, until the step's time is up.
      }
      start = undefined;
      await pause(Math.min(100 * 2 ** Math.min(tries, 10), maxPauseMs), this.#closed.signal);
    }
    this.noEnd ??= { is: 'closed' };
    return this.#end(undefined);
  }

  #end(last: ReadEvent | undefined): AttemptEnd {
    if (last?.is === 'refused') this.noEnd = last;
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
    // A shell tells of its child's signal so; of one that was stopped that is what happened.
    if (isStopped && code === 143) return { signal: 'TERM', ...stoppedFor, connectionLost: false };
    if (isStopped && code === 137) return { signal: 'KILL', ...stoppedFor, connectionLost: false };
    return { exitCode: code, ...stoppedFor, connectionLost: false };
  }

  /** Reads on one channel. Resolves with the event that ends it all, or with undefined when only the channel ended. */
  async #readOnce(start: DetachedCommandOptions['start'], fresh: boolean): Promise<ChannelEnd> {
    const { pool, request, name, become, kept, collector = 0 } = this.#options;
    const signal = this.#closed.signal;
    const nonce = start?.nonce ?? newNonce();
    const lease = start?.lease ?? (await pool.open({ ...request, fresh, signal }, plainShellFor(become)));
    const onClose = () => lease.channel.close();
    signal.addEventListener('abort', onClose);
    const timer = this.#keepTelling(lease.channel);
    try {
      lease.channel.write(start?.script ?? readScript({ name, nonce, collector, ...kept.written() }));
      const last = await this.#listen(lease, new ReadStream(nonce));
      return last ?? this.#endOfShell(lease, start !== undefined);
    } finally {
      clearInterval(timer);
      signal.removeEventListener('abort', onClose);
      this.#leave(lease.channel);
      lease.release();
    }
  }

  /** It is let run dry: while it is paused it keeps up to its window, and its close waits behind that. */
  #leave(channel: ClientChannel): void {
    this.#reading = undefined;
    channel.removeAllListeners('data');
    channel.resume();
    channel.close();
  }

  /** Of a shell that said nothing of what it was sent: where it has ended by itself, it was none that reads a script. */
  #endOfShell({ channel, connection }: Lease<ClientChannel>, isStart: boolean): ChannelEnd {
    const code = exitOf(channel)?.code;
    // From 128 on a signal ended it, which may have been at any moment.
    if (!connection.open || this.seenOn !== undefined || typeof code !== 'number' || code >= 128)
      return undefined;
    // Later shells tell something of the start only where it went the same way.
    if (!isStart) return this.#isStartMute && code === 0 ? { is: 'mute' } : undefined;
    // One that has read the script ends with 0, too, and one that has left that to what holds its output: the target is asked.
    this.#isStartMute = code === 0 && this.#isLetGo;
    if (this.#isStartMute) return { is: 'mute' };
    const why = 'its login shell ended without reading what was sent';
    return { is: 'refused', why, shellEnded: `exit code ${code}` };
  }

  /** How far the output is stored for good, so that the target can let go of it. */
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

  async #listen(lease: Lease<ClientChannel>, stream: ReadStream): Promise<ReadEvent | undefined> {
    const { channel } = lease;
    this.#reading = channel;
    this.#paused = false;
    this.#isLetGo = false;
    let quiet: NodeJS.Timeout | undefined;
    const onExit = () => {
      quiet = setTimeout(() => {
        // One that is paused has more to give.
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
              const last = this.#take(event, lease);
              if (last !== undefined) resolve(last);
            }
          } catch (error) {
            reject(error);
          }
        });
        channel.stderr.resume();
        channel.on('error', () => {});
        channel.once('close', () => resolve(undefined));
        lease.connection.closed.then(() => resolve(undefined));
        if (exitOf(channel) === undefined) channel.once('exit', onExit);
        else onExit();
      });
    } finally {
      channel.off('exit', onExit);
      clearTimeout(quiet);
    }
  }

  #take(event: ReadEvent, lease: Lease<ClientChannel>): ReadEvent | undefined {
    switch (event.is) {
      case 'begin':
        this.seenOn = lease;
        this.#onBegun();
        return undefined;
      case 'output':
        this.#write(event.stream, event.bytes, lease.channel);
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

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const finish = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', finish);
      resolve();
    };
    const timer = setTimeout(finish, ms);
    signal.addEventListener('abort', finish);
  });
}
