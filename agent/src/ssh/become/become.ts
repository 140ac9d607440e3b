// Becoming another user on a target: by sudo or su, with a password that goes in by their standard input when they ask
// for it, and never stands in an argument.
import type { BecomeConfig } from '@opsconductor/protocol';
import type { OpenedCredential } from '../../steps/step-type.ts';

export interface Become {
  method: 'sudo' | 'su';
  user: string;
  /** Undefined where the credential holds none. */
  password: string | undefined;
}

/** What a step asks for, with the password of its credential; undefined where it asks for nothing. */
export function becomeOf(config: BecomeConfig | undefined, credential: OpenedCredential): Become | undefined {
  if (config === undefined) return undefined;
  const { method = 'sudo', user = 'root' } = config;
  return { method, user, password: passwordOf(method, credential) };
}

function passwordOf(method: Become['method'], credential: OpenedCredential): string | undefined {
  if (credential.kind !== 'ssh_password' && credential.kind !== 'ssh_private_key') return undefined;
  if (credential.becomePassword !== undefined) return credential.becomePassword;
  // sudo asks for the password of who asks, su for that of whom one becomes.
  return method === 'sudo' && credential.kind === 'ssh_password' ? credential.password : undefined;
}
