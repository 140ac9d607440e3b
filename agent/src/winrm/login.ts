// Ways to authenticate to a WinRM host, and which of them need what.
import { NtlmContext } from './ntlm/ntlm-context.ts';
import type { SecurityContext } from './security-context.ts';
import { WinrmError } from './winrm-error.ts';

export type Login =
  /** `user`: `DOMAIN\name`, `name@domain`, or the name of a user of the host. */
  | { method: 'ntlm'; user: string; password: string }
  /** HTTPS only. */
  | { method: 'basic'; user: string; password: string }
  /** PEM. HTTPS only. */
  | { method: 'certificate'; certificate: string; privateKey: string; passphrase?: string };

export type LoginMethod = Login['method'];

export interface Place {
  host: string;
  port: number;
  isTls: boolean;
  method: LoginMethod;
}

/** What authenticates a connection, for the methods that do that. */
export async function securityContextFor(
  login: Login,
  place: Place,
  channelBinding: Buffer | undefined,
): Promise<SecurityContext> {
  if (login.method !== 'ntlm') throw new Error(`${login.method} authenticates requests`);
  const { user, password } = login;
  return new NtlmContext({
    user,
    password,
    host: place.host,
    ...(channelBinding === undefined ? {} : { channelBinding }),
  });
}

/** @throws {WinrmError} for a password that would cross the network in clear. */
export function refuseInClear(login: Login, isTls: boolean): void {
  if (isTls || (login.method !== 'basic' && login.method !== 'certificate')) return;
  throw new WinrmError({
    kind: 'auth_unavailable',
    message: `Authentication by ${login.method} needs HTTPS: over HTTP everything would be readable on the network.`,
    advice: 'Use HTTPS (port 5986), or NTLM or Kerberos, which seal every message.',
  });
}
