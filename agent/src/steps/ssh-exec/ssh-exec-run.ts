// Takes a running command to its outcome, whether it ends by itself or is stopped.
import { type SshExecConfig, type StepOutcome, shellAssignments } from '@opsconductor/protocol';
import type { ClientChannel } from 'ssh2';
import type { StopNote } from '../../detached/stop-note.ts';
import { exitOf, type SshConnection } from '../../ssh/connection.ts';
import type { OpenRequest, PooledChannel, SshPool } from '../../ssh/pool/pool.ts';
import { requestFor } from '../../ssh/pool/request-for.ts';
import { SshError } from '../../ssh/ssh-error.ts';
import { failedBeforeStart, stoppedBeforeStart } from '../before-start-outcomes.ts';
import type { StepContext, StopRequest } from '../step-type.ts';
import type { CommandEnd, RunningCommand } from './command-on-channel.ts';
import { makeOutputFile } from './output-file.ts';
import {
  becomeShellEnded,
  closedBeforeStart,
  lateShell,
  outcomeOf,
  stopOutcome,
} from './ssh-exec-outcomes.ts';
import type { ScriptInput } from './ssh-exec-script.ts';
import { type StopLimits, stopCommand, stopLimits } from './ssh-exec-stop.ts';

export interface SshExecOptions extends Partial<StopLimits> {
  /** Time for one of our own scripts while an attempt is being stopped, in ms; default 10 s. */
  scriptTimeoutMs?: number;
  /** Time for a shell that has the whole script to reach the command, in ms; default two minutes. */
  beginWithinMs?: number;
  /** Time for the remaining output of a shell that has exited to arrive, in ms; default one second. */
  leftWithinMs?: number;
  /**
   * Time for a login shell that prepared for the attempt itself to reach the command, until one on its connection has,
   * in ms; default 5 s.
   */
  trialMs?: number;
  /** How long a target may be out of reach before a stop counts as unconfirmed, in ms; default 30 s. */
  giveUpAfterMs?: number;
}

/** What a step is executed with. */
export interface SshExecStep {
  pool: SshPool;
  options: SshExecOptions;
  config: SshExecConfig;
  context: StepContext;
}

/** Waits for a command to end, or stops it if the step is to be stopped. Resolves with the outcome in either case. */
export async function runToEnd(
  command: RunningCommand,
  { pool, options, config, context }: SshExecStep,
): Promise<StepOutcome> {
  const { signal } = context;
  const end = await endOrStop(command, signal);
  if (typeof end === 'number') return lateShell(end, context);
  const wasStopped = end?.stoppedFor !== undefined;
  if (end && !wasStopped) return outcomeOf(command, end, config, context);
  if (!end) {
    command.callOff?.();
    if (command.neverBegan) return stoppedBeforeStart(stopRequest(context));
  }
  // A process that stopped it and is gone may not have checked whether anything is left, so that is done here.
  const request = wasStopped ? requestOf(end.stoppedFor) : stopRequest(context);
  const exitedBefore = command.exited && !wasStopped;
  const target = {
    pool,
    request: requestFor(context),
    become: context.become,
    scriptTimeoutMs: options.scriptTimeoutMs ?? 10_000,
    giveUpAfterMs: options.giveUpAfterMs ?? 30_000,
  };
  const limits = { ...stopLimits, ...options };
  const result = await stopCommand(command, request, { marker: context.marker, target, limits });
  return stopOutcome(command, request, result, { exitedBefore, cleanedUp: end?.stoppedFor === 'clean_up' });
}

/**
 * Resolves with the command's end, with undefined once a stop is requested, or with the seconds after which it was
 * `late`.
 */
function endOrStop(command: RunningCommand, signal: AbortSignal): Promise<CommandEnd | number | undefined> {
  return new Promise((resolve, reject) => {
    const onAbort = () => resolve(undefined);
    signal.addEventListener('abort', onAbort);
    command.late?.then(resolve);
    command.ended.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
    if (signal.aborted) onAbort();
  });
}

export function scriptInput(config: SshExecConfig, context: StepContext): ScriptInput {
  return {
    marker: context.marker,
    command: config.command,
    ...(config.shell === undefined ? {} : { shell: config.shell }),
    ...(config.interpreter === undefined ? {} : { interpreter: config.interpreter }),
    ...(config.stdin === undefined ? {} : { stdin: config.stdin }),
    ...(config.pty === true ? { pty: true } : {}),
    ...(context.bindings === undefined ? {} : { prelude: shellAssignments(context.bindings) }),
    ...(config.working_directory === undefined ? {} : { workingDirectory: config.working_directory }),
    ...(config.environment === undefined ? {} : { environment: config.environment }),
    ...(config.limits === undefined ? {} : { limits: config.limits }),
    ...(context.outputFile === true ? { outputFile: makeOutputFile(context.directoryName) } : {}),
  };
}

function requestOf(note: StopNote | undefined): StopRequest {
  return { cause: note === undefined || note === 'clean_up' ? 'cancelled' : note, killGraceMs: 0 };
}

function stopRequest(context: StepContext): StopRequest {
  return context.signal.reason as StopRequest;
}

/** Opens a channel with a shell that waits for a script, or returns the outcome if that is impossible. */
export async function openShell(
  pool: SshPool,
  context: StepContext,
  start: (connection: SshConnection) => Promise<ClientChannel>,
  how: Pick<OpenRequest, 'ownChannel'> = {},
): Promise<PooledChannel<ClientChannel> | StepOutcome> {
  const { signal, marker } = context;
  try {
    return await pool.open({ ...requestFor(context), signal, name: marker, ...how }, start);
  } catch (error) {
    if (signal.aborted) return stoppedBeforeStart(signal.reason as StopRequest);
    if (error instanceof SshError) return failedBeforeStart(error);
    throw error;
  }
}

/** Returns the outcome of a step whose shell must not be sent the script after all; undefined if it may be sent. */
export function refusedBeforeStart(
  { channel, connection }: PooledChannel<ClientChannel>,
  context: StepContext,
): StepOutcome | undefined {
  const { become, target, signal } = context;
  if (signal.aborted) return stoppedBeforeStart(stopRequest(context));
  if (!connection.open) return failedBeforeStart(closedBeforeStart(target.host));
  // `become` consumed this shell's streams until the shell was ready. If they ended then, no later listener would be
  // told.
  const exit = exitOf(channel);
  if (become === undefined || exit === undefined) return undefined;
  const how = exit.code === null ? `signal ${exit.signal}` : `exit code ${exit.code}`;
  return becomeShellEnded(become, target.host, how);
}

/**
 * Whether to open a spare shell for the next step on this connection. Only if steps already follow one another there
 * and our shell has answered; otherwise it could be a needless login or run of a forced command. Never with `become`: a
 * shell of another user must not be lying around for any step to take.
 */
export function mayPrepareNext(
  { reused }: Pick<PooledChannel<ClientChannel>, 'reused'>,
  { report }: Pick<RunningCommand, 'report'>,
  { become }: Pick<StepContext, 'become'>,
): boolean {
  return reused && report?.kind === 'started' && become === undefined;
}

/** Calls `gone` as soon as a shell that waits for the next step has ended. */
export function watchShell(channel: ClientChannel, gone: () => void): void {
  // The exit may have arrived together with the confirmation of the start, before anyone could listen.
  if (exitOf(channel) !== undefined) gone();
  channel.once('exit', gone);
  channel.once('close', gone);
  channel.on('error', gone);
}

/** Replaces a waiting shell that has gone by one that is opened for this step, on a channel of its own. */
export function replaceGoneShell(
  gone: PooledChannel<ClientChannel>,
  pool: SshPool,
  context: StepContext,
  start: (connection: SshConnection) => Promise<ClientChannel>,
): ReturnType<typeof openShell> {
  // Closed here, because a process that the shell left running could hold its session open indefinitely.
  gone.channel.close();
  gone.release();
  return openShell(pool, context, start, { ownChannel: true });
}
