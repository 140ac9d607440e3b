// Step type ssh.exec: one POSIX shell command on the target.
import type { SshExecConfig, StepOutcome } from '@opsconductor/protocol';
import type { ClientChannel } from 'ssh2';
import { exitOf, type SshConnection } from '../ssh/connection.ts';
import type { Lease, SshPool } from '../ssh/pool.ts';
import { SshError } from '../ssh/ssh-error.ts';
import { Attempt, type AttemptEnd } from './ssh-exec-attempt.ts';
import { bootstrapCommand, markerLine } from './ssh-exec-script.ts';
import { type StopLimits, type StopResult, stopAttempt, stopLimits } from './ssh-exec-stop.ts';
import type { StepContext, StepType, StopRequest } from './step-type.ts';

export interface SshExecOptions extends Partial<StopLimits> {
  /** For one of our own scripts while an attempt is stopped, in ms; 10 s unless told. */
  scriptTimeoutMs?: number;
  /** How long a target may be out of reach before a stop counts as unconfirmed, in ms; 30 s unless told. */
  giveUpAfterMs?: number;
}

/** The step type, on a pool of connections that the caller owns. */
export function sshExec(pool: SshPool, options: SshExecOptions = {}): StepType<SshExecConfig> {
  return { type: 'ssh.exec', execute: (config, context) => execute(pool, options, config, context) };
}

async function execute(
  pool: SshPool,
  options: SshExecOptions,
  config: SshExecConfig,
  context: StepContext,
): Promise<StepOutcome> {
  const { target, signal } = context;
  let lease = await openShell(pool, context, startShell);
  if (!('channel' in lease)) return lease;
  try {
    // Meanwhile a shell that is known to be ours makes ready; nothing starts before the script is sent.
    let isMarked = lease.prepared;
    if (isMarked) lease.channel.write(markerLine(context.marker));
    await context.beforeStart();
    while (lease.prepared && exitOf(lease.channel) !== undefined) {
      // The shell that was to wait has gone, and was sent no script: a new one may be asked.
      lease.release();
      const next = await openShell(pool, context, (connection) => startShell(connection));
      if (!('channel' in next)) return next;
      lease = next;
      isMarked = false;
      // To open it may have taken longer than the lease had left.
      await context.beforeStart();
    }
    if (signal.aborted) return stoppedBeforeStart(stopRequest(context));
    if (!lease.connection.open) return failedBeforeStart(closedBeforeStart(target.host));
    const attempt = new Attempt(lease, scriptInput(config, context), context.output, isMarked);
    const outcome = await runToEnd(attempt, pool, options, config, context);
    return finish(lease, attempt, outcome);
  } finally {
    lease.channel.close();
    lease.release();
  }
}

/** A channel whose shell waits for a script; an outcome where there can be none. */
async function openShell(
  pool: SshPool,
  context: StepContext,
  start: typeof startShell,
): Promise<Lease<ClientChannel> | StepOutcome> {
  const { target, credential, signal } = context;
  const checkAddresses = (found: readonly string[]) => context.checkAddresses(found);
  try {
    return await pool.open({ target, credential, checkAddresses, signal }, start);
  } catch (error) {
    if (signal.aborted) return stoppedBeforeStart(signal.reason as StopRequest);
    if (error instanceof SshError) return failedBeforeStart(error);
    throw error;
  }
}

function finish(lease: Lease<ClientChannel>, attempt: Attempt, outcome: StepOutcome): StepOutcome {
  // Only where one step has followed another, and a shell of ours has answered: no login or forced command for nothing.
  if (lease.reused && attempt.report?.kind === 'started') lease.prepareNext(watchShell);
  const { executionTimeMs } = attempt;
  const took = executionTimeMs === undefined ? {} : { executionTimeMs };
  return { ...outcome, ...took, ssh: sshContext(lease) };
}

function startShell(connection: SshConnection): Promise<ClientChannel> {
  return connection.exec(bootstrapCommand);
}

function watchShell(channel: ClientChannel, gone: () => void): void {
  channel.once('exit', gone);
  channel.once('close', gone);
  channel.on('error', gone);
}

async function runToEnd(
  attempt: Attempt,
  pool: SshPool,
  options: SshExecOptions,
  config: SshExecConfig,
  context: StepContext,
): Promise<StepOutcome> {
  const { target, credential, signal } = context;
  const end = await endOrStop(attempt, signal);
  if (end) return outcomeOf(attempt, end, config, context);
  const request = stopRequest(context);
  const exitedBefore = attempt.exited;
  const result = await stopAttempt(
    attempt,
    context.marker,
    {
      pool,
      request: { target, credential, checkAddresses: (found) => context.checkAddresses(found) },
      scriptTimeoutMs: options.scriptTimeoutMs ?? 10_000,
      giveUpAfterMs: options.giveUpAfterMs ?? 30_000,
    },
    request.killGraceMs,
    { ...stopLimits, ...options },
  );
  return stopOutcome(attempt, request, result, exitedBefore);
}

/** The attempt's end, or undefined as soon as a stop is asked for. */
function endOrStop(attempt: Attempt, signal: AbortSignal): Promise<AttemptEnd | undefined> {
  return new Promise((resolve, reject) => {
    const onAbort = () => resolve(undefined);
    signal.addEventListener('abort', onAbort);
    attempt.ended.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
    if (signal.aborted) onAbort();
  });
}

function outcomeOf(
  attempt: Attempt,
  end: AttemptEnd,
  config: SshExecConfig,
  context: StepContext,
): StepOutcome {
  const { host } = context.target;
  const known = { ...(end.exitCode === undefined ? {} : { exitCode: end.exitCode }) };
  if (end.exitCode === undefined && end.signal === undefined) return lost(host, end);
  const { report } = attempt;
  if (report?.kind === 'no_directory') return noDirectory(config.working_directory ?? '', report.why);
  if (!report) {
    return {
      status: 'failed',
      reason: 'channel_refused',
      message: `The login shell of ${context.credential.user} on ${host} ended (${ending(end)}) before the command started.`,
      advice: 'Check that the user has a login shell, and what its startup files do; /bin/sh must exist.',
    };
  }
  const cut = end.connectionLost
    ? {
        message:
          'The connection was lost right after the command ended; the last of its output may be missing.',
      }
    : {};
  if (end.signal !== undefined) {
    return {
      status: 'failed',
      reason: 'signal',
      signal: end.signal,
      message: `The command was ended by signal ${end.signal}.`,
      advice: "Look for who sent it: the kernel's out-of-memory killer sends KILL.",
    };
  }
  if ((config.expected_exit_codes ?? [0]).includes(end.exitCode ?? -1))
    return { status: 'succeeded', ...known, ...cut };
  return {
    status: 'failed',
    reason: 'exit_code',
    ...known,
    message: `The command ended with exit code ${end.exitCode}.`,
    ...cut,
  };
}

function lost(host: string, end: AttemptEnd): StepOutcome {
  return {
    status: 'unknown',
    reason: 'connection_lost',
    message: end.connectionLost
      ? `The connection to ${host} was lost while the command ran; whether it ended, and how, is not known.`
      : `${host} closed the session without saying how the command ended.`,
    advice: 'Look on the host whether the command is still running and what it did, before running it again.',
  };
}

function noDirectory(path: string, why: 'denied' | 'file' | 'missing'): StepOutcome {
  const shown = path.length > 500 ? `${path.slice(0, 500)}…` : path;
  const messages = {
    denied: `The working directory ${shown} may not be entered by this user; the command was not started.`,
    file: `The working directory ${shown} is not a directory; the command was not started.`,
    missing: `The working directory ${shown} does not exist; the command was not started.`,
  };
  return {
    status: 'failed',
    reason: 'working_directory',
    message: messages[why],
    advice: "Create it on the host, or correct the step's working_directory.",
  };
}

function stopOutcome(
  attempt: Attempt,
  request: StopRequest,
  result: StopResult,
  exitedBefore: boolean,
): StepOutcome {
  const { end } = result;
  const dropped =
    attempt.discardedBytes > 0 ? ` ${attempt.discardedBytes} bytes of output were dropped.` : '';
  const facts = {
    ...(end?.exitCode === undefined ? {} : { exitCode: end.exitCode }),
    ...(end?.signal === undefined ? {} : { signal: end.signal }),
  };
  if (!result.confirmed) {
    const survivors = result.survivors
      .slice(0, 100)
      .map(({ pid, command }) => ({ pid, command: command.slice(0, 512) }));
    return {
      status: 'unknown',
      reason: 'cancel_unconfirmed',
      ...facts,
      message:
        `The command was told to stop, and that it did could not be confirmed: ${result.why}.${dropped}`.slice(
          0,
          2000,
        ),
      advice:
        'Look on the host for processes whose environment holds OPSCONDUCTOR_ATTEMPT, and end them by hand.',
      ...(survivors.length > 0 ? { survivors } : {}),
    };
  }
  const cause = request.cause === 'timed_out' ? 'ran out of its time' : 'was cancelled';
  const message = exitedBefore
    ? `The command had ended, but processes it left behind kept its output open until the step ${cause}; they were ended.`
    : `The command ${cause} and was ended, with all its processes.`;
  return { status: request.cause, reason: request.cause, ...facts, message: `${message}${dropped}` };
}

function stoppedBeforeStart(request: StopRequest): StepOutcome {
  return {
    status: request.cause,
    reason: request.cause,
    message: 'The step was stopped before its command started.',
  };
}

function failedBeforeStart(error: SshError): StepOutcome {
  return {
    status: 'failed',
    // Nothing was sent, so nothing is unknown: the target was not reached.
    reason: error.reason === 'connection_lost' ? 'unreachable' : error.reason,
    message: error.message.slice(0, 2000),
    advice: error.advice.slice(0, 2000),
  };
}

function closedBeforeStart(host: string): SshError {
  return new SshError({
    reason: 'unreachable',
    message: `The connection to ${host} closed before the command was sent.`,
    advice: "Look at the network between agent and target, and at the SSH server's log.",
    retryable: true,
  });
}

function scriptInput(config: SshExecConfig, context: StepContext) {
  return {
    marker: context.marker,
    command: config.command,
    ...(config.working_directory === undefined ? {} : { workingDirectory: config.working_directory }),
    ...(config.environment === undefined ? {} : { environment: config.environment }),
  };
}

function stopRequest(context: StepContext): StopRequest {
  return context.signal.reason as StopRequest;
}

function sshContext(lease: Lease<ClientChannel>): NonNullable<StepOutcome['ssh']> {
  const { id, establishedAt, cipher } = lease.connection;
  return { sessionId: id, establishedAt: establishedAt.toISOString(), reused: lease.reused, cipher };
}

function ending(end: AttemptEnd): string {
  return end.signal === undefined ? `exit code ${end.exitCode}` : `signal ${end.signal}`;
}
