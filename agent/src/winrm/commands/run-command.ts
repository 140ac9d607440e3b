// A command on a WinRM host from its start to its end: its input goes in while its output comes out, it can be stopped, and
// its shell is removed whatever happens.
import type { WinrmConnection } from '../connection/connection.ts';
import type { ConnectionSource } from '../connection/pool.ts';
import { signals } from '../messages/namespaces.ts';
import type { CommandLine, ShellSettings } from '../messages/soap.ts';
import { WinrmError } from '../winrm-error.ts';
import { pause } from './pause.ts';
import { inputBytesPerMessage, isLost, WinrmShell } from './shell.ts';

export interface RunOptions {
  /** Connections to the host, all as the same user. */
  connections: ConnectionSource;
  settings: ShellSettings;
  line: CommandLine;
  /**
   * Given to the command, then closed. The end of it may be cut where the host is under load: it must be such that nothing is done
   * then.
   */
  input: Buffer;
  /** Awaited before more is asked for. */
  onOutput(stream: 'stdout' | 'stderr', bytes: Buffer): void | Promise<void>;
  /** Called when all is ready and nothing was started; what it rejects with ends the run. */
  beforeStart?(): Promise<void>;
  /** Aborted to stop the command, or not to start it. */
  signal: AbortSignal;
  /** Between ctrl_c and the end, read when the command is stopped. */
  killGraceMs(): number;
  /**
   * Asked when the reply to a look at the output was lost, and what was in it is gone: whether to look again. Else the
   * command is lost. Unless told, it is looked at again.
   */
  mayLack?(): boolean;
  /**
   * What it does may be begun again. Then input that the host may not have taken is told as lost also where it was the last: else
   * that counts as given, and a command that never got it is waited for until it is stopped.
   */
  mayBeginAgain?: boolean;
  limits?: Partial<RunLimits>;
}

export interface RunLimits {
  /** How long a host may be out of reach while its command runs before it counts as lost. */
  reconnectMs: number;
  /** Between two tries to reach it. */
  retryMs: number;
  /** Between two tries to give it input that it is too busy for. */
  busyMs: number;
  /** For the host to say that a shell is removed. */
  deleteMs: number;
}

/** For the answer to input that is no longer of interest. */
const settleMs = 1_000;

const defaultLimits: RunLimits = { reconnectMs: 30_000, retryMs: 1_000, busyMs: 5_000, deleteMs: 20_000 };

export type CommandEnd =
  /** It ended by itself. */
  | { how: 'exited'; exitCode: number | undefined; outputMayLack: boolean }
  /** `confirmed`: the host said that it is gone; `why` not, where it isn't. */
  | {
      how: 'stopped';
      confirmed: boolean;
      why?: string;
      /** It ended by itself when it was told Ctrl+C. */
      onCtrlC?: boolean;
      exitCode: number | undefined;
      outputMayLack: boolean;
    }
  /** It was begun, and how it ended is not known. */
  | { how: 'lost'; error: WinrmError };

/**
 * Runs one command.
 *
 * @throws {WinrmError} where it was not begun; whatever `beforeStart` rejects with; the signal's reason where that was
 * aborted before the start.
 */
export async function runCommand(options: RunOptions): Promise<CommandEnd> {
  const connections = new Connections(options);
  try {
    return await run(options, connections);
  } finally {
    connections.release();
  }
}

/** One that waits for output, and one beside it for what must not wait. */
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

  /** For what is not worth a login of its own. */
  get sideOrMain(): WinrmConnection {
    this.#side ??= this.#source.connectWarm?.();
    return this.#side ?? this.main;
  }

  /** Whoever waits for the command's end need not wait for its shell's, where somebody else does. */
  async finish(removal: Promise<void>, settings: ShellSettings): Promise<void> {
    const main = this.#main;
    if (this.#source.finish === undefined || main === undefined) return removal;
    this.#main = undefined;
    this.#source.finish(main, removal, settings);
  }

  /** One that was made ahead. */
  spareShell(settings: ShellSettings): WinrmShell | undefined {
    return this.main.isWarm ? this.#source.takeShell?.(settings) : undefined;
  }

  /** Whether there may be room now for a shell that there was none for. */
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
      // The host counts a user's operations by shell, and a new one starts at none.
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
    // A host may close a connection that was idle in the moment it is used. What came of it there goes when it is idle.
    const isOfConnection = wasWarm && error.kind === 'ambiguous';
    if (!isOfConnection && !(error.kind === 'quota' && (await connections.settle()))) throw error;
    return WinrmShell.create(connections.main, settings, signal);
  }
}

/** Never rejects: how the command ended is known already, and an idle shell goes by itself. */
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
  /** Ends what waits for the host, once nothing more is wanted of it. */
  readonly #over = new AbortController();
  /** Ends what is still given to the command. */
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
      // The message with input that is under way is let come to its end: its connection is of use then.
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
   * Small input before the first look at the output, or beside it; more of it beside, since the command may print meanwhile.
   * Never rejects: what keeps a login from being made may be anything.
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
          // Behind a look at the output what is given again would wait for as long as that: a command without its input is quiet.
          (tries) => (tries === 1 ? connection : this.#connections.side),
          this.#command,
          { bytes, isLast },
          { signal: this.#fed.signal, busyMs: this.#limits.busyMs },
        );
        // What lacks its end runs nothing; what lacked something in the midst might.
        if (!isTaken && !(isLast && this.#options.mayBeginAgain !== true))
          return notGiven('The host did not say in time that it has taken a part of it.');
      }
      return undefined;
    } catch (error) {
      if (error instanceof WinrmError) return error;
      return this.#fed.signal.aborted ? undefined : notGiven(error);
    }
  }

  /** Asks for output until the command is done. */
  async #read(feeding: Promise<WinrmError | undefined>): Promise<CommandEnd> {
    let fed: WinrmError | undefined;
    void feeding.then((error) => {
      fed = error;
    });
    for (;;) {
      // Whether the command ended although, or because, its input did not arrive is told by one more look.
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

  /** A look whose reply was lost is made again; the output that was in it is gone. */
  async #receive() {
    // A look at a quiet command lasts a minute: only from the first that fails on the host is out of reach.
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
    // What stops it would wait behind input that the command does not read.
    this.#fed.abort(new Error('The command is stopped'));
    let why: string | undefined;
    let end = await this.#signalled(signals.ctrl_c, ending, this.#options.killGraceMs());
    const onCtrlC = end !== undefined;
    const timeout = AbortSignal.timeout(this.#limits.deleteMs);
    if (end === undefined) {
      await this.#shell.signal(side, this.#command, signals.terminate, timeout).catch(() => undefined);
    }
    try {
      // Whatever runs in a shell is in one job object on the host, and goes with it: also what a command has left behind, if it has
      // not left the job, and was not started by a service in its stead.
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

  /** The command's end, where it comes by itself in time. */
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

/** Of a failed look at a running command: whether the next one may go well. */
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
    message: `Its input could not be given to it whole: ${why.replace(/\.$/, '')}.`,
    advice: 'Look on the host what the command did with as much as it got, before running it again.',
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

async function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
