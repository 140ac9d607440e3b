// A script that runs as a scheduled task: it goes on whether or not an agent is connected, and is found again by its
// name.

import { powershellInput } from '@opsconductor/protocol';
import { cutText } from '../../cut-text.ts';
import { pause } from '../../timing/pause.ts';
import { type CommandEnd, type RunLimits, runCommand } from '../commands/run-command.ts';
import type { ConnectionSource } from '../connection/pool.ts';
import { Lines } from '../messages/lines.ts';
import { powershellLine, powershellText } from '../powershell/powershell.ts';
import { WinrmError } from '../winrm-error.ts';
import { taskProgram, taskSupervisor, taskVariables } from './task-program.ts';

export interface TaskStart {
  shell: 'powershell' | 'pwsh';
  /** What the shell reads: see `powershellInput`. */
  input: string;
  workingDirectory: string | undefined;
  /** Password of the user that it runs as. */
  password?: string;
  /** 0 (most urgent) to 10, as the task scheduler counts; its own default is 7. */
  priority: number;
}

export interface TaskOptions {
  connections: ConnectionSource;
  /** Names the task on the host: letters, digits, dots and hyphens. */
  name: string;
  /** The user that it runs as, if not the system: a stopped process must belong to that user. */
  user: string | undefined;
  /** Undefined for a task that was begun by an earlier process. */
  start?: TaskStart;
  /** How much of its output was taken. */
  taken(): { stdout: number; stderr: number };
  onOutput(stream: 'stdout' | 'stderr', bytes: Buffer): void | Promise<void>;
  beforeStart?(): Promise<void>;
  /** Aborted to stop it. */
  signal: AbortSignal;
  limits?: Partial<RunLimits>;
}

const idleTimeoutS = 300;
const retryMs = 1_000;
const stopMs = 30_000;
/** How many times in a row it may say nothing that makes sense. */
const maxSilences = 5;
/**
 * How many times in a row the login may be refused: more would lock the account, or log in every second for nothing.
 */
const maxRefusals = 2;
const maxLineChars = 1024 * 1024;

/**
 * Runs a task, or follows one that was begun, to its end. Connections may come and go meanwhile.
 *
 * @throws {WinrmError} if it was not begun; whatever `beforeStart` rejects with; the signal's reason.
 */
export async function runTask(options: TaskOptions): Promise<CommandEnd> {
  const following = new AbortController();
  const isBegun = options.start === undefined;
  const state: State = { isBegun, isTold: isBegun, isStartEnded: false };
  const ending = follow(options, state, following.signal);
  let onStop = () => {};
  const stopped = new Promise<undefined>((resolve) => {
    onStop = () => resolve(undefined);
    options.signal.addEventListener('abort', onStop);
    if (options.signal.aborted) onStop();
  });
  try {
    const end = await Promise.race([ending, stopped]);
    if (end !== undefined) return end;
    if (!state.isTold) {
      // End the program that may be about to begin the task first: the start could come after the stop, which would
      // have found nothing.
      following.abort(options.signal.reason);
      const known = await ending.catch((error: unknown) => {
        if (!state.isBegun) throw error;
        return undefined;
      });
      if (known?.how === 'exited') return known;
    }
    return await stop(options, state);
  } finally {
    options.signal.removeEventListener('abort', onStop);
    following.abort(new Error('The task is no longer followed'));
    await ending.catch(() => undefined);
  }
}

/**
 * Removes everything of the task from the host.
 *
 * @throws {WinrmError}
 */
export async function removeTask(connections: ConnectionSource, name: string): Promise<void> {
  await ask({ connections, name, verb: 'remove', signal: AbortSignal.timeout(stopMs) }, ['removed']);
}

interface State {
  /** The host may have begun it. */
  isBegun: boolean;
  /** The host said so, or it was begun by an earlier process. */
  isTold: boolean;
  /** The program that would have begun it on the host has certainly ended. */
  isStartEnded: boolean;
}

async function follow(options: TaskOptions, state: State, signal: AbortSignal): Promise<CommandEnd> {
  let { start } = options;
  for (let silences = 0, refusals = 0; ; ) {
    const heard = new Heard(options.onOutput, () => {
      state.isTold = true;
    });
    try {
      const beforeStart = async () => {
        if (start === undefined) return;
        await options.beforeStart?.();
        options.signal.throwIfAborted();
        state.isBegun = true;
      };
      const { connections, name, user, limits } = options;
      const where = { ...options.taken(), ...start, user };
      const end = await say({
        connections,
        name,
        verb: start === undefined ? 'follow' : 'start',
        where,
        heard,
        beforeStart,
        signal,
        limits,
      });
      state.isStartEnded = start !== undefined && end.how === 'stopped' && end.confirmed;
      silences = heard.isAny ? 0 : silences + 1;
      refusals = 0;
    } catch (error) {
      const isRefused = error instanceof WinrmError && error.notExecuted;
      // Stopped before it was asked for, or refused.
      if (start !== undefined && (isRefused || error === signal.reason)) state.isBegun = false;
      if (signal.aborted || !state.isBegun || !(error instanceof WinrmError)) throw error;
      refusals = error.kind === 'auth_failed' || error.kind === 'not_authorized' ? refusals + 1 : 0;
      if (refusals >= maxRefusals) return { how: 'lost', error };
      // Unreachable: asks again until the caller stops it.
    }
    const { last } = heard;
    if (last?.is === 'failed' && start !== undefined && !heard.isBegun) {
      state.isBegun = false;
      throw notStarted(last.text);
    }
    if (last?.is === 'exit') return { how: 'exited', exitCode: last.code, outputMayLack: false };
    if (last?.is === 'none' || last?.is === 'ended') return { how: 'lost', error: gone(last.is) };
    if (silences >= maxSilences) return { how: 'lost', error: gone('silent') };
    signal.throwIfAborted();
    start = undefined;
    await pause(retryMs, signal);
  }
}

async function stop(
  { connections, name, user }: TaskOptions,
  { isTold, isStartEnded }: State,
): Promise<CommandEnd> {
  const signal = AbortSignal.timeout(stopMs);
  try {
    const said = await ask({ connections, name, verb: 'stop', where: { user }, signal }, ['stopped', 'none']);
    // Finding no trace of it means that it has not begun only if nothing can begin it any more.
    if (said === 'none' && (isTold || !isStartEnded)) throw gone('none');
    return { how: 'stopped', confirmed: true, exitCode: undefined, outputMayLack: false };
  } catch (error) {
    const why = error instanceof WinrmError ? error.message : 'the host did not say so in time';
    return { how: 'stopped', confirmed: false, why, exitCode: undefined, outputMayLack: false };
  }
}

interface Said {
  connections: ConnectionSource;
  name: string;
  verb: 'start' | 'follow' | 'stop' | 'remove';
  where?: Partial<TaskStart> & Partial<Record<'stdout' | 'stderr', number>> & { user?: string | undefined };
  heard: Heard;
  beforeStart?: () => Promise<void>;
  signal: AbortSignal;
  limits?: Partial<RunLimits> | undefined;
}

async function ask(said: Omit<Said, 'heard'>, wanted: readonly Word['is'][]): Promise<Word['is']> {
  const heard = new Heard(() => undefined);
  await say({ ...said, heard });
  if (heard.last !== undefined && wanted.includes(heard.last.is)) return heard.last.is;
  throw problem(
    'fault',
    heard.last?.is === 'failed' ? heard.last.text : 'The host did not say that it is done.',
  );
}

/**
 * Runs the program on the host, and reads its output.
 *
 * @throws {WinrmError} also if the program was lost.
 */
async function say({
  connections,
  name,
  verb,
  where = {},
  heard,
  beforeStart,
  signal,
  limits,
}: Said): Promise<Exclude<CommandEnd, { how: 'lost' }>> {
  const values: Record<keyof typeof taskVariables, string> = {
    verb,
    name,
    supervisor: verb === 'start' ? taskSupervisor : '',
    input: where.input ?? '',
    program: where.shell === undefined ? '' : powershellText(where.shell),
    directory: where.workingDirectory ?? '',
    user: where.user ?? '',
    password: where.password ?? '',
    priority: String(where.priority ?? 7),
    stdout: String(where.stdout ?? 0),
    stderr: String(where.stderr ?? 0),
  };
  const bindings = Object.entries(taskVariables).map(([key, variable]) => ({
    name: variable,
    type: 'string' as const,
    value: values[key as keyof typeof taskVariables],
    secret: false,
  }));
  const end = await runCommand({
    connections,
    settings: { environment: {}, workingDirectory: undefined, idleTimeoutS },
    line: powershellLine('powershell'),
    input: Buffer.from(powershellInput(taskProgram, bindings)),
    onOutput: (stream, bytes) => (stream === 'stdout' ? heard.read(bytes) : undefined),
    ...(beforeStart === undefined ? {} : { beforeStart }),
    signal,
    killGraceMs: () => 0,
    // The task's output is in files, so a new look continues after what was already passed on.
    ...(verb === 'follow' ? { mayLack: () => false, mayBeginAgain: true } : {}),
    ...(verb === 'start' ? { mayLack: () => heard.mayLack() } : {}),
    ...(limits === undefined ? {} : { limits }),
  });
  if (end.how === 'lost') throw end.error.as({ notExecuted: false });
  return end;
}

type Word =
  | { is: 'none' | 'ended' | 'stopped' | 'removed' }
  | { is: 'exit'; code: number }
  | { is: 'failed'; text: string };

/** Reads the lines of the program. They come from the host and may contain anything. */
class Heard {
  last: Word | undefined;
  isBegun = false;
  /** Whether anything that makes sense was said. */
  isAny = false;
  readonly #onOutput: TaskOptions['onOutput'];
  readonly #lines = new Lines(maxLineChars);
  /** Whether some of what was said is gone. */
  #lacks = false;

  readonly #onBegun: () => void;

  constructor(onOutput: TaskOptions['onOutput'], onBegun = () => {}) {
    this.#onOutput = onOutput;
    this.#onBegun = onBegun;
  }

  /**
   * Called when some of what the host said is gone. Returns whether to ask for more anyway: that is necessary while the
   * host is about to begin the task, or the start would end half way.
   */
  mayLack(): boolean {
    this.#lacks = true;
    return !this.isBegun;
  }

  async read(bytes: Buffer): Promise<void> {
    for (const line of this.#lines.take(bytes.toString('latin1'))) await this.#take(line.trim());
  }

  async #take(line: string): Promise<void> {
    const at = line.indexOf(' ');
    const [word, rest] = at === -1 ? [line, ''] : [line.slice(0, at), line.slice(at + 1)];
    if (this.#lacks && !this.isBegun && word !== 'begun') {
      // The lost part may have said that it has begun, or that it has not, and this may be half a line.
      throw problem('ambiguous', 'Some of what the host said of its start did not arrive.');
    }
    switch (word) {
      case 'begun':
        this.isBegun = true;
        this.#onBegun();
        break;
      case 'stdout':
      case 'stderr':
        await this.#onOutput(word, Buffer.from(rest, 'base64'));
        break;
      case 'exit':
        if (!/^-?\d{1,10}$/.test(rest)) return;
        this.last ??= { is: 'exit', code: Number(rest) | 0 };
        break;
      case 'failed':
        this.last ??= { is: 'failed', text: cutText(Buffer.from(rest, 'base64').toString('utf8'), 1_000) };
        break;
      case 'none':
      case 'ended':
      case 'stopped':
      case 'removed':
        this.last ??= { is: word };
        break;
      default:
        return;
    }
    this.isAny = true;
  }
}

function notStarted(why: string): WinrmError {
  return new WinrmError({
    kind: 'fault',
    message: `The host made no scheduled task for it: ${why}`,
    advice: 'The user must be an administrator of the host; look at its task scheduler.',
    notExecuted: true,
  });
}

function gone(how: 'none' | 'ended' | 'silent'): WinrmError {
  const what = {
    none: 'There is no trace of its scheduled task on the host.',
    ended: 'Its scheduled task was ended, or the host restarted, before it was done.',
    silent: 'The host does not say what became of its scheduled task.',
  }[how];
  return problem('ambiguous', what);
}

function problem(kind: 'ambiguous' | 'fault', message: string): WinrmError {
  return new WinrmError({
    kind,
    message,
    advice:
      'Check on the host what the step did, what its task scheduler shows, and whether the host was restarted.',
  });
}
