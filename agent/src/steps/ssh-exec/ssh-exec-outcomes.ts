// Turns the end of a command into an outcome.

import type { SshExecConfig, StepOutcome } from '@opsconductor/protocol';
import { cutText } from '../../cut-text.ts';
import type { Become } from '../../ssh/become/become.ts';
import { SshError } from '../../ssh/ssh-error.ts';
import { failedBeforeStart, stoppedStatus } from '../before-start-outcomes.ts';
import type { StepContext, StopRequest } from '../step-type.ts';
import type { BootstrapReport } from './bootstrap-report.ts';
import type { CommandEnd, RunningCommand } from './command-on-channel.ts';
import { cpuLimitExitCode, type TargetLimits } from './ssh-exec-script.ts';
import type { StopResult } from './ssh-exec-stop.ts';

/** Returns the outcome of a command that has ended by itself, or whose connection was lost. */
export function outcomeOf(
  command: RunningCommand,
  end: CommandEnd,
  config: SshExecConfig,
  context: StepContext,
): StepOutcome {
  const { host } = context.target;
  const known = { ...(end.exitCode === undefined ? {} : { exitCode: end.exitCode }) };
  const { report } = command;
  if (report !== undefined && report.kind !== 'started') return notStarted(report, config, context);
  if (end.exitCode === undefined && end.signal === undefined) {
    if (!command.neverBegan) return lost(host, end);
    if (end.connectionLost) return failedBeforeStart(closedBeforeStart(host));
  }
  if (report === undefined) return shellEnded(end, context);
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
  const cpuSeconds = config.limits?.cpu_seconds;
  if (cpuSeconds !== undefined && end.exitCode === cpuLimitExitCode) {
    return {
      status: 'failed',
      reason: 'cpu_limit',
      ...known,
      message: `A process of the command used up its ${cpuSeconds} s of processor time and was ended.`,
      advice: 'Raise limits.cpu_seconds of the step, or look for what keeps the command busy.',
    };
  }
  return {
    status: 'failed',
    reason: 'exit_code',
    ...known,
    message: `The command ended with exit code ${end.exitCode}.`,
    ...cut,
  };
}

/** The outcome of a command whose own shell reported that it can't begin it. */
function notStarted(
  report: Exclude<BootstrapReport, { kind: 'started' }>,
  config: SshExecConfig,
  { target: { host }, credential }: StepContext,
): StepOutcome {
  if (report.kind === 'no_directory') return noDirectory(config.working_directory ?? '', report.why);
  if (report.kind === 'no_limit') return limitRefused(report.which, config, host);
  if (report.kind === 'no_shell') {
    return {
      status: 'failed',
      reason: 'channel_refused',
      message: `The command was not started: there is no ${report.which} on ${host} in the PATH of ${credential.user}.`,
      advice:
        config.interpreter === undefined
          ? `Install ${report.which} there, or leave shell out of the step: /bin/sh runs it then.`
          : `Install ${report.which} there, or give its whole path as the interpreter of the step.`,
    };
  }
  return {
    status: 'failed',
    reason: 'channel_refused',
    message: `The command was not started: ${host} has no safe place for the file that the step writes its outputs to.`,
    advice:
      'The home directory of the user or /var/tmp there must be writable, and writable by nobody else; find and id must be installed.',
  };
}

function shellEnded(end: CommandEnd, { become, credential, target: { host } }: StepContext): StepOutcome {
  if (become !== undefined) return becomeShellEnded(become, host, ending(end));
  return {
    status: 'failed',
    reason: 'channel_refused',
    message: `The login shell of ${credential.user} on ${host} ended (${ending(end)}) before the command started.`,
    advice:
      'Read what it printed, in the output of the step. Usual causes: the account’s password has expired (chage -l), its login shell lets nobody in, or a startup file ends the shell; /bin/sh must exist.',
  };
}

/** The outcome if the shell had the script for that many seconds, didn't reach the command, and was called off. */
export function lateShell(
  seconds: number,
  { become, credential, target: { host } }: StepContext,
): StepOutcome {
  return {
    status: 'failed',
    reason: 'channel_refused',
    message: `The shell of ${become?.user ?? credential.user} on ${host} did not reach the command within ${seconds} s; it was not started, and will not be.`,
    advice:
      'Find out what it waits for: the startup files of the login shell, a working directory that is mounted when it is entered, or a forced command that reads the script in place of a shell.',
  };
}

function lost(host: string, end: CommandEnd): StepOutcome {
  return {
    status: 'unknown',
    reason: 'connection_lost',
    message: end.connectionLost
      ? `The connection to ${host} was lost while the command ran; it is not known whether and how it ended.`
      : `${host} closed the session without saying how the command ended.`,
    advice: 'Check on the host whether the command is still running and what it did before you run it again.',
  };
}

function noDirectory(path: string, why: 'denied' | 'file' | 'missing'): StepOutcome {
  // The path is not known for a command that was found again.
  const shown = path === '' ? '' : ` ${cutText(path, 500)}`;
  const messages = {
    denied: `The working directory${shown} may not be entered by this user; the command was not started.`,
    file: `The working directory${shown} is not a directory; the command was not started.`,
    missing: `The working directory${shown} does not exist; the command was not started.`,
  };
  return {
    status: 'failed',
    reason: 'working_directory',
    message: messages[why],
    advice: "Create it on the host, or correct the step's working_directory.",
  };
}

function limitRefused(which: keyof TargetLimits, config: SshExecConfig, host: string): StepOutcome {
  return {
    status: 'failed',
    reason: 'limit_refused',
    message: `The command was not started: ${host} can't limit it to limits.${which} = ${config.limits?.[which]}.`,
    advice:
      which === 'nice'
        ? 'Install renice there, or leave the limit out.'
        : "The user's own limit there may be lower already (ulimit -H -a), or its /bin/sh knows no such limit: change that, or leave the limit out.",
  };
}

/** Returns the outcome of a command that was stopped, by what stopping it has achieved. */
export function stopOutcome(
  command: RunningCommand,
  request: StopRequest,
  result: StopResult,
  { exitedBefore, cleanedUp }: { exitedBefore: boolean; cleanedUp: boolean },
): StepOutcome {
  const { end } = result;
  const dropped =
    command.discardedBytes > 0 ? ` ${command.discardedBytes} bytes of output were dropped.` : '';
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
        `The command was told to stop, but it could not be confirmed that it did: ${result.why?.replace(/\.$/, '')}.${dropped}`.slice(
          0,
          2000,
        ),
      advice:
        'Check the host for processes whose environment contains OPSCONDUCTOR_ATTEMPT, and end them by hand.',
      ...(survivors.length > 0 ? { survivors } : {}),
    };
  }
  const cause = {
    timed_out: 'ran out of its time',
    cancelled: 'was cancelled',
    output_limit: 'printed more output than is kept',
  }[request.cause];
  const why = cleanedUp ? 'had been given up' : cause;
  const message = exitedBefore
    ? `The command had ended, but processes it left behind kept its output open until the step ${cause}; they were ended.`
    : `The command ${why} and was ended, with all its processes.`;
  return {
    status: stoppedStatus(request),
    reason: request.cause,
    ...facts,
    message: `${message}${dropped}`,
    ...(request.cause === 'output_limit'
      ? { advice: 'Raise limits.output_mb of the step, or set on_output_limit to truncate.' }
      : {}),
  };
}

export function serverTooOld(): StepOutcome {
  return {
    status: 'failed',
    reason: 'invalid_config',
    message:
      'The command was not started: the server that the agent is connected to is of a version that does not know survive_agent_restart.',
    advice: 'Upgrade every server, or set survive_agent_restart of the step to false.',
  };
}

/** @param how how it ended, for example `exit code 1` */
export function becomeShellEnded({ user }: Become, host: string, how: string): StepOutcome {
  return failedBeforeStart(
    new SshError({
      reason: 'become_refused',
      message: `The shell of ${user} on ${host} ended (${how}) before the command was sent.`,
      advice:
        'Check what keeps env and /bin/sh from running as that user: a restricted login shell, or the secure_path of sudo.',
    }),
  );
}

export function closedBeforeStart(host: string): SshError {
  return new SshError({
    reason: 'unreachable',
    message: `The connection to ${host} closed before the command began.`,
    advice: "Look at the network between agent and target, and at the SSH server's log.",
    retryable: true,
  });
}

function ending(end: CommandEnd): string {
  if (end.signal !== undefined) return `signal ${end.signal}`;
  return end.exitCode === undefined ? 'without an exit code' : `exit code ${end.exitCode}`;
}
