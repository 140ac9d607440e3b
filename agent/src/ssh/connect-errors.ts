// Turns errors of the operating system and of ssh2 while connecting into reasons that a person can act on.
import { unreachableAdvice } from '../explain-error.ts';
import type { StepTarget } from '../steps/step-type.ts';
import { SshError } from './ssh-error.ts';

type Place = Pick<StepTarget, 'host' | 'port' | 'algorithms'>;

/** Returns why an address could not be reached. `timeoutMs` is given if our own limit ended the attempt. */
export function dialError(target: Place, address: string, cause: unknown, timeoutMs?: number): SshError {
  const place = `${target.host}${address === target.host ? '' : ` (${address})`} port ${target.port}`;
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  if (timeoutMs !== undefined || code === 'ETIMEDOUT') {
    return new SshError({
      reason: 'connect_timed_out',
      message: `Nothing answered at ${place}${timeoutMs === undefined ? '' : ` within ${timeoutMs / 1000} s`}.`,
      advice: 'Check that the host is up, and that no firewall between agent and host drops the packets.',
      retryable: true,
      cause,
    });
  }
  if (code === 'ECONNREFUSED') {
    return new SshError({
      reason: 'connection_refused',
      message: `Nothing listens at ${place}: the connection was refused.`,
      advice: "Check the target's port, and that the SSH server runs.",
      retryable: true,
      cause,
    });
  }
  return new SshError({
    reason: 'unreachable',
    message: `There is no way from the agent to ${place} (${code ?? String(cause)}).`,
    advice: unreachableAdvice(code),
    retryable: true,
    cause,
  });
}

interface HandshakeFacts {
  /** What the server said that it is; empty if it has not. */
  serverVersion: string;
  timeoutMs: number;
  /** Whose login had begun. */
  user?: string | undefined;
}

/** Returns why there is no SSH connection although the port answered. */
export function handshakeError(
  target: Place,
  cause: (Error & { level?: string }) | undefined,
  { serverVersion, timeoutMs, user }: HandshakeFacts,
): SshError {
  const place = `${target.host} port ${target.port}`;
  const text = cause?.message ?? 'the connection was closed';
  const missing = /no matching (.+)$/.exec(text);
  if (missing) {
    return new SshError({
      reason: 'no_common_algorithm',
      message: `${place} and the agent have no ${missing[1]} in common.`,
      advice:
        target.algorithms === 'legacy'
          ? 'Update the SSH server, or allow a newer algorithm in its configuration.'
          : 'Update the SSH server, or allow a current algorithm in its configuration. For a device that can’t be updated set ssh_algorithms of the target to legacy: SHA-1, CBC and 3DES are offered then, and can be broken.',
      cause,
    });
  }
  if (cause?.level === 'client-timeout') {
    return new SshError({
      reason: 'connect_timed_out',
      message: `${place} accepted the connection but did not finish the SSH handshake within ${timeoutMs / 1000} s.`,
      advice: 'Check that the port belongs to an SSH server, and that the host is not overloaded.',
      retryable: true,
      cause,
    });
  }
  if (serverVersion === '') {
    return new SshError({
      reason: 'unreachable',
      message: `${place} accepted the connection but did not answer as an SSH server (${text}).`,
      advice:
        "Check the target's port; a busy SSH server also drops connections (MaxStartups, PerSourcePenalties).",
      retryable: true,
      cause,
    });
  }
  if (/packet length/i.test(text)) {
    return new SshError({
      reason: 'unreachable',
      message: `${place} sent a packet that is longer than SSH allows, or broken. The agent ended the connection.`,
      advice:
        'If the SSH server shows a text before the login (Banner in sshd_config), keep it below 32 KB. Otherwise check what is in between: something may change what passes.',
      retryable: true,
      cause,
    });
  }
  if (user !== undefined) {
    return new SshError({
      reason: 'unreachable',
      message: `${place} broke off the login of ${user}: ${text}.`,
      advice:
        "Look at the SSH server's log. Usual causes: the account has expired (chage -l) or is not let in (PAM, pam_nologin), or too many logins came at once or failed (MaxStartups, MaxAuthTries).",
      retryable: true,
      cause,
    });
  }
  return new SshError({
    reason: 'unreachable',
    message: `The SSH handshake with ${place} failed: ${text}.`,
    advice: "Look at the SSH server's log for the reason.",
    retryable: true,
    cause,
  });
}
