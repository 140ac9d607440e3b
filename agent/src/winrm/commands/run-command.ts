// Runs a command on a WinRM host from its start to its end: its input is sent while its output arrives, it can be
// stopped, and its shell is removed whatever happens.
import { pause } from '../../timing/pause.ts';
import { within } from '../../timing/within.ts';
import type { WinrmConnection } from '../connection/connection.ts';
import type { ConnectionSource } from '../connection/pool.ts';
import { signals } from '../messages/namespaces.ts';
import type { CommandLine, ShellSettings } from '../messages/soap.ts';
import { WinrmError } from '../winrm-error.ts';
import { inputBytesPerMessage, isLost, WinrmShell } from './shell.ts';

export interface RunOptions {
  /** Connections to the host, all as the same user. */
  connections: ConnectionSource;
  settings: ShellSettings;
  line: CommandLine;
  /**
   * Sent to the command, which then sees the end of its input. Under load a host may cut off the end of it, so the
   * input must be such that a cut makes the command do nothing.
   */
  input: Buffer;
  /** Awaited before more output is requested. */
  onOutput(stream: 'stdout' | 'stderr', bytes: Buffer): void | Promise<void>;
  /** Called when all is ready and nothing was started. If it rejects, the run ends with that. */
  beforeStart?(): Promise<void>;
  /** Aborted to stop the command, or to keep it from being started. */
  signal: AbortSignal;
  /** Time between ctrl_c and the end, read when the command is stopped. */
  killGraceMs(): number;
  /**
   * Called when the reply to a poll was lost, and the output in it is gone. If it returns false, the command is lost;
   * otherwise, and by default, the output is polled again.
   */
  mayLack?(): boolean;
  /**
   * Whether the command may be begun again. If so, the last part of the input counts as lost, too, if the host may not
   * have taken it. Otherwise it counts as sent, and a command that never got it is waited for until it is stopped.
   */
  mayBeginAgain?: boolean;
  limits?: Partial<RunLimits>;
}

export interface RunLimits {
  /** How long a host may be unreachable while its command runs before the command counts as lost. */
  reconnectMs: number;
  /** Time between two tries to reach it. */
  retryMs: number;
  /** Time between two tries to send it input that it is too busy for. */
  busyMs: number;
  /** How long the host may take to say that a shell is removed. */
  deleteMs: number;
}

/** How long to wait for the reply to input that is no longer of interest. */
const settleMs = 1_000;

const defaultLimits: RunLimits = { reconnectMs: 30_000, retryMs: 1_000, busyMs: 5_000, deleteMs: 20_000 };

export type CommandEnd =
  /** It ended by itself. */
  | { how: 'exited'; exitCode: number | undefined; outputMayLack: boolean }
  /** `confirmed`: the host said that it is gone. `why` says why that is not confirmed. */
  | {
      how: 'stopped';
      confirmed: boolean;
      why?: string;
      /** Whether it ended by itself after Ctrl+C. */
      onCtrlC?: boolean;
      exitCode: number | undefined;
      outputMayLack: boolean;
    }
  /** It was begun, and it is not known how it ended. */
  | { how: 'lost'; error: WinrmError };

/**
 * Runs one command.
 *
 * @throws {WinrmError} if it was not begun; whatever `beforeStart` rejects with; the signal's reason if it was aborted
 * before the start.
 */
export async function runCommand(options: RunOptions): Promise<CommandEnd> {
  const connections = new Connections(options);
  try {
    return await run(options, connections);
  } finally {
    connections.release();
  }
}

/** One connection that waits for output, and one for messages that must not wait behind that. */
class Connections {
  readonly #source: ConnectionSource;
  #main: WinrmConnection | undefined;
  #side: WinrmConnection | undefined;

  constructor({ connections }: RunOptions) {
    this.#source = connections;
  }

  get main(): WinrmConnection {
    this.#main ??= this.#source.connect();
    return this.#main;
  }

  get side(): WinrmConnection {
    this.#side ??= this.#source.connect();
    return this.#side;
  }

  /** For messages that are not worth a login of their own. */
  get sideOrMain(): WinrmConnection {
    this.#side ??= this.#source.connectWarm?.();
    return this.#side ?? this.main;
  }

  /** If the source can wait for the removal of the shell, whoever waits for the command's end doesn't have to. */
  async finish(removal: Promise<void>, settings: ShellSettings): Promise<void> {
    const main = this.#main;
    if (this.#source.finish === undefined || main === undefined) return removal;
    this.#main = undefined;
    this.#source.finish(main, removal, settings);
  }

  /** A shell that was made ahead. */
  spareShell(settings: ShellSettings): WinrmShell | undefined {
    return this.main.isWarm ? this.#source.takeShell?.(settings) : undefined;
  }

  /** Returns whether there may now be room for a shell that there was no room for before. */
  async settle(): Promise<boolean> {
    await this.#source.settle?.();
    return this.#source.settle !== undefined;
  }

  release(): void {
    for (const each of [this.#main, this.#side]) if (each !== undefined) this.#source.release(each);
  }
}

async function run(options: RunOptions, connections: Connections): Promise<CommandEnd> {
  const begun = await begin(options, connections);
  try {
    if ('error' in begun) return { how: 'lost', error: begun.error };
    return await new Running(options, connections, begun.shell, begun.command).toEnd();
  } finally {
    await connections.finish(remove(options, connections, begun.shell), options.settings);
  }
}

type Begun = { shell: WinrmShell; command: string } | { shell: WinrmShell; error: WinrmError };

async function begin(options: RunOptions, connections: Connections): Promise<Begun> {
  const { line, settings, signal } = options;
  for (let tries = 1; ; tries += 1) {
    const spare = tries === 1 ? connections.spareShell(settings) : undefined;
    const shell = spare ?? (await makeShell(connections, settings, signal));
    let asked = false;
    try {
      await options.beforeStart?.();
      signal.throwIfAborted();
      asked = true;
      return { shell, command: await shell.start(connections.main, line) };
    } catch (error) {
      const isKnown = error instanceof WinrmError;
      if (asked && isKnown && !error.notExecuted) return { shell, error };
      await remove(options, connections, shell);
      // The host counts a user's operations per shell, and a new shell starts at zero.
      const mayPass = isKnown && (error.kind === 'quota' || error.kind === 'shell_gone');
      if (!mayPass || tries === 2) throw error;
    }
  }
}

async function makeShell(
  connections: Connections,
  settings: ShellSettings,
  signal: AbortSignal,
): Promise<WinrmShell> {
  const wasWarm = connections.main.isWarm;
  try {
    return await WinrmShell.create(connections.main, settings, signal);
  } catch (error) {
    if (!(error instanceof WinrmError)) throw error;
    // A host may close an idle connection at the moment it is used. Whatever it created in that case it removes when
    // idle.
    const isOfConnection = wasWarm && error.kind === 'ambiguous';
    if (!isOfConnection && !(error.kind === 'quota' && (await connections.settle()))) throw error;
    return WinrmShell.create(connections.main, settings, signal);
  }
}

/** Never rejects: how the command ended is already known, and the host removes idle shells by itself. */
async function remove(options: RunOptions, connections: Connections, shell: WinrmShell): Promise<void> {
  const { deleteMs } = { ...defaultLimits, ...options.limits };
  await shell.delete(connections.main, AbortSignal.timeout(deleteMs)).catch(() => undefined);
}

class Running {
  readonly #options: RunOptions;
  readonly #limits: RunLimits;
  readonly #connections: Connections;
  readonly #shell: WinrmShell;
  readonly #command: string;
  /** Ends everything that waits for the host, once nothing more is needed from it. */
  readonly #over = new AbortController();
  /** Ends the sending of input. */
  readonly #fed = new AbortController();
  #outputMayLack = false;
  #hasEnded = false;

  constructor(options: RunOptions, connections: Connections, shell: WinrmShell, command: string) {
    this.#options = options;
    this.#limits = { ...defaultLimits, ...options.limits };
    this.#connections = connections;
    this.#shell = shell;
    this.#command = command;
  }

  async toEnd(): Promise<CommandEnd> {
    const { signal } = this.#options;
    const feeding = this.#feed();
    const ending = this.#read(feeding);
    const stopping = aborted(signal);
    try {
      const first = await Promise.race([ending, stopping.promise]);
      if (first === undefined) return await this.#stop(ending);
      // Input that is being sent is allowed to complete, so that its connection can be reused.
      this.#hasEnded = true;
      await within(settleMs, feeding);
      return first;
    } finally {
      stopping.release();
      this.#fed.abort(new Error('The command is over'));
      this.#over.abort(new Error('The command is over'));
      await Promise.allSettled([feeding, ending]);
    }
  }

  /**
   * Sends the input. Small input is sent before the first poll of the output or in parallel with it. Larger input is
   * always sent in parallel, since the command may print meanwhile. Never rejects: a failed login can have any cause.
   */
  async #feed(): Promise<WinrmError | undefined> {
    const { input } = this.#options;
    try {
      const most = inputBytesPerMessage(this.#connections.main);
      const isSmall = input.length <= most;
      const connection = isSmall ? this.#connections.sideOrMain : this.#connections.side;
      for (let at = 0; (at === 0 || at < input.length) && !this.#hasEnded; at += most) {
        const isLast = at + most >= input.length;
        const bytes = input.subarray(at, at + most);
        const isTaken = await this.#shell.send(
          // On the connection that polls the output, a retry would wait for a whole poll: a command without its input
          // is quiet.
          (tries) => (tries === 1 ? connection : this.#connections.side),
          this.#command,
          { bytes, isLast },
          { signal: this.#fed.signal, busyMs: this.#limits.busyMs },
        );
        // A command whose input lacks its end does nothing; if a part in the middle is missing, it might do something.
        if (!isTaken && !(isLast && this.#options.mayBeginAgain !== true))
          return notGiven('The host did not confirm in time that it has taken a part of it.');
      }
      return undefined;
    } catch (error) {
      if (error instanceof WinrmError) return error;
      return this.#fed.signal.aborted ? undefined : notGiven(error);
    }
  }

  /** Polls for output until the command is done. */
  async #read(feeding: Promise<WinrmError | undefined>): Promise<CommandEnd> {
    let fed: WinrmError | undefined;
    void feeding.then((error) => {
      fed = error;
    });
    for (;;) {
      // One more poll tells whether the command ended although, or because, its input did not arrive.
      const failedBefore = fed;
      const received = await this.#receive();
      if ('how' in received) return received;
      for (const { stream, bytes } of received.output) await this.#options.onOutput(stream, bytes);
      if (received.isDone) {
        return { how: 'exited', exitCode: received.exitCode, outputMayLack: this.#outputMayLack };
      }
      if (failedBefore !== undefined) return { how: 'lost', error: failedBefore };
    }
  }

  /** Polls again if a reply was lost; the output in that reply is gone. */
  async #receive() {
    // A poll of a quiet command takes a minute, so the host counts as unreachable only from the first failed poll on.
    let deadline: number | undefined;
    for (;;) {
      try {
        return await this.#shell.receive(this.#connections.main, this.#command, this.#over.signal);
      } catch (error) {
        if (!(error instanceof WinrmError)) throw error;
        const nowMs = performance.now();
        deadline ??= nowMs + this.#limits.reconnectMs;
        const lacks = isLost(error);
        const isEnough = lacks && this.#options.mayLack?.() === false;
        if (isEnough || !mayPass(error) || nowMs > deadline) return { how: 'lost' as const, error };
        this.#outputMayLack ||= lacks;
      }
      await pause(this.#limits.retryMs, this.#over.signal);
    }
  }

  async #stop(ending: Promise<CommandEnd>): Promise<CommandEnd> {
    const { side } = this.#connections;
    // The signal would wait behind input that the command does not read.
    this.#fed.abort(new Error('The command is stopped'));
    let why: string | undefined;
    let end = await this.#signalled(signals.ctrl_c, ending, this.#options.killGraceMs());
    const onCtrlC = end !== undefined;
    const timeout = AbortSignal.timeout(this.#limits.deleteMs);
    if (end === undefined) {
      await this.#shell.signal(side, this.#command, signals.terminate, timeout).catch(() => undefined);
    }
    try {
      // Everything in a shell belongs to one job object on the host and ends with it. That includes what a command has
      // left behind, unless it left the job or was started by a service instead.
      await this.#shell.delete(side, timeout);
    } catch (error) {
      why = error instanceof WinrmError ? error.message : 'the host did not say so in time';
    }
    end ??= await within(1_000, ending);
    return {
      how: 'stopped',
      confirmed: why === undefined,
      ...(why === undefined ? {} : { why }),
      onCtrlC,
      exitCode: end?.how === 'exited' ? end.exitCode : undefined,
      outputMayLack: this.#outputMayLack,
    };
  }

  /** Returns the command's end if it comes by itself in time. */
  async #signalled(
    code: (typeof signals)[keyof typeof signals],
    ending: Promise<CommandEnd>,
    graceMs: number,
  ): Promise<CommandEnd | undefined> {
    try {
      await this.#shell.signal(
        this.#connections.side,
        this.#command,
        code,
        AbortSignal.timeout(this.#limits.deleteMs),
      );
    } catch {
      return undefined;
    }
    const end = await within(graceMs, ending);
    return end?.how === 'exited' ? end : undefined;
  }
}

/** Whether the next poll of a running command may succeed after this error. */
function mayPass(error: WinrmError): boolean {
  return (
    isLost(error) ||
    ['unreachable', 'connection_refused', 'connect_timed_out', 'name_not_found'].includes(error.kind)
  );
}

function notGiven(cause: unknown): WinrmError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new WinrmError({
    kind: 'ambiguous',
    message: `Its input could not be delivered completely: ${why.replace(/\.$/, '')}.`,
    advice: 'Check on the host what the command did with what it got before you run it again.',
    cause,
  });
}

function aborted(signal: AbortSignal): { promise: Promise<undefined>; release(): void } {
  let onAbort = () => {};
  const promise = new Promise<undefined>((resolve) => {
    onAbort = () => resolve(undefined);
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) onAbort();
  });
  return { promise, release: () => signal.removeEventListener('abort', onAbort) };
}
