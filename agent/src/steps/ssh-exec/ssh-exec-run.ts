// From a command that runs to its outcome: it ends by itself, or it is stopped.
import { type SshExecConfig, type StepOutcome, shellAssignments } from '@opsconductor/protocol';
import type { ClientChannel } from 'ssh2';
import type { StopNote } from '../../detached/stop-note.ts';
import { exitOf, type SshConnection } from '../../ssh/connection.ts';
import type { Lease, OpenRequest, SshPool } from '../../ssh/pool/pool.ts';
import { SshError } from '../../ssh/ssh-error.ts';
import { failedBeforeStart, stoppedBeforeStart } from '../before-start-outcomes.ts';
import type { StepContext, StopRequest } from '../step-type.ts';
import { makeOutputFile } from './output-file.ts';
import type { AttemptEnd, RunningCommand } from './ssh-exec-attempt.ts';
import {
  becomeShellEnded,
  closedBeforeStart,
  lateShell,
  outcomeOf,
  stopOutcome,
} from './ssh-exec-outcomes.ts';
import type { ScriptInput } from './ssh-exec-script.ts';
import { type StopLimits, stopAttempt, stopLimits } from './ssh-exec-stop.ts';

export interface SshExecOptions extends Partial<StopLimits> {
  /** For one of our own scripts while an attempt is stopped, in ms; 10 s unless told. */
  scriptTimeoutMs?: number;
  /** For a shell that has the script to get to the command, in ms; two minutes unless told. */
  beginWithinMs?: number;
  /** For the rest of what a shell that has exited has printed to arrive, in ms; a second unless told. */
  leftWithinMs?: number;
  /** How long a target may be out of reach before a stop counts as unconfirmed, in ms; 30 s unless told. */
  giveUpAfterMs?: number;
}

export async function runToEnd(
  attempt: RunningCommand,
  pool: SshPool,
  options: SshExecOptions,
  config: SshExecConfig,
  context: StepContext,
): Promise<StepOutcome> {
  const { target, credential, signal } = context;
  const end = await endOrStop(attempt, signal);
  if (typeof end === 'number') return lateShell(end, context);
  const wasStopped = end?.stoppedFor !== undefined;
  if (end && !wasStopped) return outcomeOf(attempt, end, config, context);
  if (!end) {
    attempt.callOff?.();
    if (attempt.neverBegan) return stoppedBeforeStart(stopRequest(context));
  }
  // Whoever stopped it did not come to look whether anything is left.
  const request = wasStopped ? requestOf(end.stoppedFor) : stopRequest(context);
  const exitedBefore = attempt.exited && !wasStopped;
  const result = await stopAttempt(
    attempt,
    context.marker,
    {
      pool,
      request: { target, credential, checkAddresses: (found) => context.checkAddresses(found) },
      become: context.become,
      scriptTimeoutMs: options.scriptTimeoutMs ?? 10_000,
      giveUpAfterMs: options.giveUpAfterMs ?? 30_000,
    },
    request,
    { ...stopLimits, ...options },
  );
  return stopOutcome(attempt, request, result, { exitedBefore, cleanedUp: end?.stoppedFor === 'clean_up' });
}

/** The attempt's end; undefined as soon as a stop is asked for; after how many seconds its shell was given up. */
function endOrStop(attempt: RunningCommand, signal: AbortSignal): Promise<AttemptEnd | number | undefined> {
  return new Promise((resolve, reject) => {
    const onAbort = () => resolve(undefined);
    signal.addEventListener('abort', onAbort);
    attempt.late?.then(resolve);
    attempt.ended.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
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

export function stopRequest(context: StepContext): StopRequest {
  return context.signal.reason as StopRequest;
}

/** A channel whose shell waits for a script; an outcome where there can be none. */
export async function openShell(
  pool: SshPool,
  context: StepContext,
  start: (connection: SshConnection) => Promise<ClientChannel>,
  how: Pick<OpenRequest, 'ownChannel'> = {},
): Promise<Lease<ClientChannel> | StepOutcome> {
  const { target, credential, signal } = context;
  const checkAddresses = (found: readonly string[]) => context.checkAddresses(found);
  try {
    return await pool.open({ target, credential, checkAddresses, signal, ...how }, start);
  } catch (error) {
    if (signal.aborted) return stoppedBeforeStart(signal.reason as StopRequest);
    if (error instanceof SshError) return failedBeforeStart(error);
    throw error;
  }
}

/** Why nothing is sent to a shell after all; undefined where it may be. */
export function refusedBeforeStart(
  { channel, connection }: Lease<ClientChannel>,
  context: StepContext,
): StepOutcome | undefined {
  const { become, target, signal } = context;
  if (signal.aborted) return stoppedBeforeStart(stopRequest(context));
  if (!connection.open) return failedBeforeStart(closedBeforeStart(target.host));
  // The streams of such a shell were listened to until it was there: of their end nobody would hear any more.
  const exit = exitOf(channel);
  if (become === undefined || exit === undefined) return undefined;
  const how = exit.code === null ? `signal ${exit.signal}` : `exit code ${exit.code}`;
  return becomeShellEnded(become, target.host, how);
}

/**
 * Only where one step has followed another, and a shell of ours has answered: no login or forced command for nothing.
 * Never a shell of somebody else's, which nobody may have for the asking.
 */
export function mayPrepareNext(
  { reused }: Pick<Lease<ClientChannel>, 'reused'>,
  { report }: Pick<RunningCommand, 'report'>,
  { become }: Pick<StepContext, 'become'>,
): boolean {
  return reused && report?.kind === 'started' && become === undefined;
}

/** Of a shell that waits for the next step: calls `gone` as soon as it does not any more. */
export function watchShell(channel: ClientChannel, gone: () => void): void {
  // Its end may have come in the very bytes that said that it began, before anyone could listen.
  if (exitOf(channel) !== undefined) gone();
  channel.once('exit', gone);
  channel.once('close', gone);
  channel.on('error', gone);
}

/** Another shell for one that was to wait and has gone: one that is opened for this. */
export function replaceGoneShell(
  gone: Lease<ClientChannel>,
  pool: SshPool,
  context: StepContext,
  start: (connection: SshConnection) => Promise<ClientChannel>,
): ReturnType<typeof openShell> {
  // What it has left running may hold its session open for as long as it likes.
  gone.channel.close();
  gone.release();
  return openShell(pool, context, start, { ownChannel: true });
}
