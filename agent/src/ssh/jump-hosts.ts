// Errors on the way through a jump host. They distinguish a failure of the jump host from one that it reports of the
// target.
import type { StepTarget } from '../steps/step-type.ts';
import type { ForwardTo } from './connection.ts';
import { SshError } from './ssh-error.ts';

// RFC 4254, section 5.1.
const administrativelyProhibited = 1;
const connectFailed = 2;
const unknownChannelType = 3;
const resourceShortage = 4;

/** An error that a jump host reports of the target behind it, not of itself. */
class BehindJumpHost extends SshError {}

/** Returns why a server could not connect to a port; `cause` is the error from ssh2. */
export function forwardError({ host, port }: ForwardTo, cause: unknown): SshError {
  const { reason } = Object(cause) as { reason?: unknown };
  const text =
    cause instanceof Error ? cause.message.replace(/^.*Channel open failure: /, '') : String(cause);
  const said =
    text
      .replace(/[^\x20-\x7e]/g, ' ')
      .slice(0, 200)
      .trim() || 'no reason given';
  const place = `${host} port ${port}`;
  if (reason === administrativelyProhibited || reason === unknownChannelType) {
    return new SshError({
      reason: 'channel_refused',
      message: `It does not let connections to ${place} through (${said}).`,
      advice:
        'Allow that in its SSH server: AllowTcpForwarding, PermitOpen, DisableForwarding, and restrictions on the key.',
      cause,
    });
  }
  if (reason === resourceShortage) {
    return new SshError({
      reason: 'channel_refused',
      message: `It takes no more connections to ${place} (${said}).`,
      advice: 'Look at the limits of its SSH server.',
      retryable: true,
      cause,
    });
  }
  if (reason !== connectFailed) {
    return new SshError({
      reason: 'channel_refused',
      message: `It did not connect to ${place} (${said}).`,
      advice: "Look at its SSH server's log for the reason.",
      retryable: true,
      cause,
    });
  }
  const behind = (details: Omit<ConstructorParameters<typeof SshError>[0], 'cause' | 'retryable'>) =>
    new BehindJumpHost({ ...details, retryable: true, cause });
  if (/refused/i.test(said)) {
    return behind({
      reason: 'connection_refused',
      message: `Nothing listens at ${place}: the connection was refused.`,
      advice: "Check the target's port, and that the SSH server runs.",
    });
  }
  if (/timed out/i.test(said)) {
    return behind({
      reason: 'connect_timed_out',
      message: `Nothing answered at ${place}.`,
      advice:
        'Check that the host is up, and that no firewall between jump host and target drops the packets.',
    });
  }
  if (/name|resol|host.*not.*(known|found)|nodename/i.test(said)) {
    return behind({
      reason: 'name_not_found',
      message: `The name ${host} could not be resolved (${said}).`,
      advice: "Check the target's host name, and the name servers of the jump host.",
    });
  }
  return behind({
    reason: 'unreachable',
    message: `There is no way to ${place} (${said}).`,
    advice: "Check the target's address, and the routes of the jump host.",
  });
}

/** Returns the error for a connection that a jump host did not establish in time. */
export function forwardTimedOut({ host, port, timeoutMs }: ForwardTo): SshError {
  return new BehindJumpHost({
    reason: 'connect_timed_out',
    message: `Nothing answered at ${host} port ${port} within ${timeoutMs / 1000} s.`,
    advice: 'Check that the host is up, and that no firewall between jump host and target drops the packets.',
    retryable: true,
  });
}

/** Returns the error of the way to `target`, with the name of the jump host that it is about. */
export function jumpHostFailed(
  jump: Pick<StepTarget, 'name'>,
  target: Pick<StepTarget, 'name'>,
  error: unknown,
): unknown {
  if (!(error instanceof SshError)) return error;
  // It already names a jump host before this one.
  if (error.reason === 'jump_host_failed') return error;
  if (error instanceof BehindJumpHost) {
    const { reason, advice, retryable, cause } = error;
    const message = `From jump host “${jump.name}”: ${error.message}`;
    return new SshError({ reason, message, advice, retryable, cause });
  }
  return new SshError({
    // A refusal by the owner's policy keeps its reason.
    reason: error.reason === 'policy_refused' ? error.reason : 'jump_host_failed',
    message: `Jump host “${jump.name}” on the way to “${target.name}”: ${error.message}`,
    advice: `${error.advice} Test target “${jump.name}” by itself.`,
    retryable: error.retryable,
    cause: error,
  });
}
