// The ways to authenticate to a WinRM host, and what each of them needs.

import { WinrmError } from '../winrm-error.ts';
import { KerberosContext } from './kerberos/kerberos-context.ts';
import type { KerberosClient } from './kerberos/kerberos-credential.ts';
import type { KerberosTickets } from './kerberos/kerberos-tickets.ts';
import { NtlmContext } from './ntlm/ntlm-context.ts';
import type { SecurityContext } from './security-context.ts';

export type Login =
  /** `user`: `DOMAIN\name`, `name@domain`, or the name of a user of the host. */
  | { method: 'ntlm'; user: string; password: string }
  /**
   * `user`: `name@REALM` or `REALM\\name`. A keytab is the content of the file, a cache is the name of one on this
   * machine (`FILE:/…`). `principal` is the host's: `HTTP/name@REALM`.
   */
  | {
      method: 'kerberos';
      user?: string;
      from: KerberosClient['from'];
      principal?: string;
    }
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

/** Creates what authenticates a connection, for the methods that authenticate connections. */
export async function securityContextFor(
  login: Login,
  place: Place,
  channelBinding: Buffer | undefined,
  { tickets, signal }: { tickets?: KerberosTickets | undefined; signal?: AbortSignal | undefined } = {},
): Promise<SecurityContext> {
  const { host } = place;
  const bound = channelBinding === undefined ? {} : { channelBinding };
  if (login.method === 'ntlm') {
    const { user, password } = login;
    return new NtlmContext({ user, password, host, ...bound });
  }
  if (login.method !== 'kerberos') throw new Error(`${login.method} authenticates requests`);
  const { user, from, principal } = login;
  const options = {
    from,
    host,
    ...(user === undefined ? {} : { user }),
    ...(principal === undefined ? {} : { principal }),
    ...(tickets === undefined ? {} : { tickets }),
    ...bound,
  };
  return KerberosContext.create(options, signal);
}

/** @throws {WinrmError} for a password that would cross the network unencrypted. */
export function refuseInClear(login: Login, isTls: boolean): void {
  if (isTls || (login.method !== 'basic' && login.method !== 'certificate')) return;
  throw new WinrmError({
    kind: 'auth_unavailable',
    message: `Authentication by ${login.method} needs HTTPS: over HTTP everything would be readable on the network.`,
    advice: 'Use HTTPS (port 5986), or NTLM or Kerberos, which seal every message.',
  });
}
