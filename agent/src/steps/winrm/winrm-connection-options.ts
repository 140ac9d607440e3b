// From what a step is given to a connection: where the host is, who logs in, and what the agent's own policy says of it.
import { resolveTarget } from '../../ssh/resolve-target.ts';
import { SshError } from '../../ssh/ssh-error.ts';
import type { ConnectionOptions } from '../../winrm/connection/connection.ts';
import type { ConnectionSource, WinrmPool } from '../../winrm/connection/pool.ts';
import { WinrmError } from '../../winrm/winrm-error.ts';
import type { StepContext } from '../step-type.ts';
import { winrmLogin } from './winrm-login.ts';

export interface WinrmPolicy {
  /** Whether a target may say that its certificate is not to be verified. */
  allowUnverified?(): boolean;
  /** Kerberos tickets that others get and renew on the agent's machine, by the names that credentials call them by. */
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

/** @throws {SshError} as `winrmConnectionOptions`. */
export function winrmConnections(given: Given, deps: WinrmDeps): ConnectionSource {
  return deps.pool.of(winrmConnectionOptions(given, deps), ownerOf(given));
}

/** All whose bounds `checkAddresses` holds: a step that does not use a credential has not checked where that may go. */
function ownerOf({ credential, runAs }: Given): string {
  const own = `${credential.id} ${credential.version}`;
  return runAs === undefined ? own : `${own} as ${runAs.id} ${runAs.version}`;
}

/** @throws {SshError} for what can't be used together, or what the agent does not allow. */
export function winrmConnectionOptions(given: Given, policy: WinrmPolicy): ConnectionOptions {
  const { target, credential } = given;
  const { host, port, winrm, connectTimeoutS } = target;
  if (winrm === undefined) {
    throw new SshError({
      reason: 'invalid_config',
      message: `${target.name} is set to be reached by SSH, and the step needs WinRM.`,
      advice: 'Set the protocol of the target to winrm.',
    });
  }
  const insecure = winrm.certificateCheck === 'skip';
  if (insecure && winrm.transport === 'https' && policy.allowUnverified?.() !== true) {
    throw new SshError({
      // Nobody has asked the target: another agent of its segment may be allowed to.
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

/** In the words of the connection, which may be made anew while a command runs: it has not failed for that. */
function notDialled(cause: SshError): WinrmError {
  const { message, advice } = cause;
  const kind = cause.reason === 'name_not_found' ? cause.reason : 'unreachable';
  return new WinrmError({ kind, message, advice, notExecuted: true, cause });
}
