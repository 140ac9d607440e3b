// Turns the end of a command on a WinRM host, or the error that kept it from starting, into an outcome.

import type { StepOutcome, StepReason, WinrmExecConfig } from '@opsconductor/protocol';
import { cutText } from '../../cut-text.ts';
import { SshError } from '../../ssh/ssh-error.ts';
import type { CommandEnd } from '../../winrm/commands/run-command.ts';
import type { ConnectionSource } from '../../winrm/connection/pool.ts';
import { WinrmError, type WinrmErrorKind } from '../../winrm/winrm-error.ts';
import { failedBeforeStart, stoppedBeforeStart, stoppedStatus } from '../before-start-outcomes.ts';
import type { StopRequest } from '../step-type.ts';

/** The step's reason for an error that came before anything was started. */
export const reasons: Readonly<Record<WinrmErrorKind, StepReason>> = {
  name_not_found: 'name_not_found',
  unreachable: 'unreachable',
  connection_refused: 'connection_refused',
  connect_timed_out: 'connect_timed_out',
  certificate: 'certificate_refused',
  auth_failed: 'auth_failed',
  auth_unavailable: 'auth_failed',
  not_authorized: 'not_authorized',
  unencrypted_refused: 'auth_failed',
  not_winrm: 'unreachable',
  protocol: 'unreachable',
  ambiguous: 'unreachable',
  no_answer: 'unreachable',
  quota: 'channel_refused',
  shell_gone: 'channel_refused',
  poll_again: 'channel_refused',
  bad_directory: 'working_directory',
  no_powershell: 'channel_refused',
  fault: 'channel_refused',
  too_large: 'invalid_config',
  invalid: 'invalid_config',
};

/**
 * Returns the outcome of a step whose command ended with this error instead of an end of its own. Throws it again if
 * nobody foresaw it.
 */
export function outcomeOfThrown(
  error: unknown,
  signal: AbortSignal,
  connections: ConnectionSource | undefined,
): StepOutcome {
  if (signal.aborted && error === signal.reason) return stoppedBeforeStart(signal.reason as StopRequest);
  if (error instanceof SshError) return failedBeforeStart(error);
  if (!(error instanceof WinrmError)) throw error;
  // A login has the rights that its user had when it began.
  connections?.retire?.();
  return outcomeOfError(error);
}

function outcomeOfError({ kind, message, advice, cause }: WinrmError): StepOutcome {
  // The host's name was not found, or the policy or the credential's bounds forbid its addresses.
  if (cause instanceof SshError) return failedBeforeStart(cause);
  return {
    status: 'failed',
    reason: reasons[kind],
    message: cutText(`The command was not started. ${message}`, 2_000),
    advice: cutText(advice, 2_000),
  };
}

const mayLack = 'The connection was lost while the command ran, and some of its output may be missing.';

/** Returns the outcome of a command by how it ended; `stop` is why it was to be stopped, if it was. */
export function outcomeOfEnd(
  end: CommandEnd,
  config: WinrmExecConfig,
  host: string,
  stop: StopRequest | undefined,
): StepOutcome {
  if (end.how === 'lost') return lost(end.error, host);
  const { exitCode, outputMayLack } = end;
  const known = exitCode === undefined ? {} : { exitCode };
  const isTask = config.run_as !== undefined || config.run_as_credential !== undefined;
  if (end.how === 'stopped') return stopped(end, known, stop, isTask);
  if (exitCode === undefined) {
    return {
      status: 'unknown',
      reason: 'connection_lost',
      message: `${host} reported that the command ended, but not its exit code.`,
      advice: 'Check on the host what the command did before you run it again.',
    };
  }
  const expected = config.expected_exit_codes ?? [0];
  // Windows exit codes are unsigned, but people write them with and without a sign.
  if (expected.includes(exitCode) || expected.includes(exitCode >>> 0)) {
    return { status: 'succeeded', ...known, ...(outputMayLack ? { message: mayLack } : {}) };
  }
  const hex = exitCode < 0 ? ` (0x${(exitCode >>> 0).toString(16).toUpperCase()})` : '';
  return {
    status: 'failed',
    reason: 'exit_code',
    ...known,
    message: `The command ended with exit code ${exitCode}${hex}.${outputMayLack ? ` ${mayLack}` : ''}`,
  };
}

function lost({ message, advice }: WinrmError, host: string): StepOutcome {
  return {
    status: 'unknown',
    reason: 'connection_lost',
    message: cutText(`What became of the command on ${host} is not known. ${message}`, 2_000),
    advice: cutText(advice, 2_000),
  };
}

function stopped(
  end: Extract<CommandEnd, { how: 'stopped' }>,
  known: { exitCode?: number },
  stop: StopRequest | undefined,
  isTask: boolean,
): StepOutcome {
  if (stop === undefined) throw new Error('A command ended as stopped without a request to stop');
  if (!end.confirmed) {
    return {
      status: 'unknown',
      reason: 'cancel_unconfirmed',
      ...known,
      message:
        `The command was told to stop, but it could not be confirmed that it did: ${end.why ?? 'no answer'}`.slice(
          0,
          2_000,
        ),
      advice: isTask
        ? 'Check the host’s task scheduler for a task of OpsConductor, and the host for what the command has started.'
        : 'Check the host for processes below winrshost.exe. The host ends the shell, with everything in it, once it has been idle for 15 minutes.',
    };
  }
  const cause = {
    timed_out: 'ran out of its time',
    cancelled: 'was cancelled',
    output_limit: 'printed more output than is kept',
  }[stop.cause];
  return {
    status: stoppedStatus(stop),
    reason: stop.cause,
    ...known,
    message: `The command ${cause} and was ended, with its ${isTask ? 'task' : 'shell'}. What it had others start (services, WMI, the task scheduler, Windows Installer) may still be running.`,
  };
}
