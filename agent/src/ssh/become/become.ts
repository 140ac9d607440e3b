// Becoming another user on a target with sudo or su. They get the password on stdin when they ask for it; it never
// appears in an argument.
import type { BecomeConfig } from '@opsconductor/protocol';
import type { OpenedCredential } from '../../steps/step-type.ts';

export interface Become {
  method: 'sudo' | 'su';
  user: string;
  /** Undefined if the credential holds none. */
  password: string | undefined;
}

/** Combines a step's `become` with the password of its credential; undefined if the step has none. */
export function becomeOf(config: BecomeConfig | undefined, credential: OpenedCredential): Become | undefined {
  if (config === undefined) return undefined;
  const { method = 'sudo', user = 'root' } = config;
  return { method, user, password: passwordOf(method, credential) };
}

function passwordOf(method: Become['method'], credential: OpenedCredential): string | undefined {
  if (credential.kind !== 'ssh_password' && credential.kind !== 'ssh_private_key') return undefined;
  if (credential.becomePassword !== undefined) return credential.becomePassword;
  // sudo asks for the login user's password, su for the password of the user to become.
  return method === 'sudo' && credential.kind === 'ssh_password' ? credential.password : undefined;
}
