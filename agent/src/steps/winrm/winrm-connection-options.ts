// Turns what a step is given into connection options: the host, the login, and what the agent's own policy allows.
import { resolveTarget } from '../../ssh/resolve-target.ts';
import { SshError } from '../../ssh/ssh-error.ts';
import type { ConnectionOptions } from '../../winrm/connection/connection.ts';
import type { ConnectionSource, WinrmPool } from '../../winrm/connection/pool.ts';
import { WinrmError } from '../../winrm/winrm-error.ts';
import type { StepContext } from '../step-type.ts';
import { winrmLogin } from './winrm-login.ts';

export interface WinrmPolicy {
  /** Whether a target's settings may turn off the verification of its certificate. */
  allowUnverified?(): boolean;
  /**
   * Kerberos tickets that other programs get and renew on the agent's machine, under the names that credentials use.
   */
  ticketCaches?(): readonly TicketCache[];
}

export interface TicketCache {
  name: string;
  path: string;
}

export interface WinrmDeps extends WinrmPolicy {
  pool: WinrmPool;
}

type Given = Pick<StepContext, 'target' | 'credential' | 'runAs' | 'checkAddresses'>;

/** @throws SshError for the same reasons as `winrmConnectionOptions` */
export function winrmConnections(given: Given, deps: WinrmDeps): ConnectionSource {
  return deps.pool.of(winrmConnectionOptions(given, deps), ownerOf(given));
}

/**
 * Names every credential whose bounds `checkAddresses` checks. Steps share a connection only if they use the same ones:
 * a step with other credentials would not have checked these bounds.
 */
function ownerOf({ credential, runAs }: Given): string {
  const own = `${credential.id} ${credential.version}`;
  return runAs === undefined ? own : `${own} as ${runAs.id} ${runAs.version}`;
}

/** @throws SshError if the settings don't fit together, or the agent does not allow them */
export function winrmConnectionOptions(given: Given, policy: WinrmPolicy): ConnectionOptions {
  const { target, credential } = given;
  const { host, port, winrm, connectTimeoutS } = target;
  if (winrm === undefined) {
    throw new SshError({
      reason: 'invalid_config',
      message: `${target.name} is set to be reached by SSH, but the step needs WinRM.`,
      advice: 'Set the protocol of the target to winrm.',
    });
  }
  const insecure = winrm.certificateCheck === 'skip';
  if (insecure && winrm.transport === 'https' && policy.allowUnverified?.() !== true) {
    throw new SshError({
      // The target was not contacted; another agent of its segment may be allowed to.
      reason: 'policy_refused',
      message: `${target.name} is set to skip the check of its certificate, and this agent does not allow that.`,
      advice:
        'Give the target the certificate authority of its certificate; or start the agents of the segment with --allow-unverified-winrm.',
    });
  }
  return {
    host,
    port,
    login: winrmLogin(credential, winrm, policy.ticketCaches?.() ?? []),
    ...(winrm.transport === 'http'
      ? {}
      : { tls: { insecure, ...(winrm.ca === undefined ? {} : { ca: [winrm.ca] }) } }),
    ...(connectTimeoutS === undefined ? {} : { connectTimeoutMs: connectTimeoutS * 1_000 }),
    addressesOf: async (name) => {
      try {
        const addresses = await resolveTarget(name);
        await given.checkAddresses(addresses);
        return addresses;
      } catch (error) {
        throw error instanceof SshError ? notDialled(error) : error;
      }
    },
  };
}

/**
 * Wraps the error as a WinrmError. The connection may be reopened while a command runs; an SshError would then be
 * reported as a failure before the start.
 */
function notDialled(cause: SshError): WinrmError {
  const { message, advice } = cause;
  const kind = cause.reason === 'name_not_found' ? cause.reason : 'unreachable';
  return new WinrmError({ kind, message, advice, notExecuted: true, cause });
}
