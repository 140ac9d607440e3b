import { WinrmError } from '../../winrm-error.ts';

/** What the library says went wrong, with what to look at. */
export function loginFailure(problem: string): WinrmError {
  return new WinrmError({
    kind: 'auth_failed',
    message: `The login by Kerberos failed: ${problem}.`,
    advice: adviceFor(problem),
    notExecuted: true,
  });
}

function adviceFor(text: string): string {
  if (/clock skew/i.test(text))
    return 'Set the clocks of the agent’s machine and of the domain controllers (NTP).';
  if (
    /ticket.*expired|credentials? (have |has )?expired|no credentials? cache|cache.*not found/i.test(text)
  ) {
    return 'Renew the tickets in the cache on the agent’s machine (kinit, k5start), and see that the agent’s user may read it. With a password or a keytab: set that machine’s clock (NTP), by which new tickets are over already.';
  }
  if (/cannot (find|contact|resolve)|realm/i.test(text)) {
    return 'Check the realm in the user’s name, and that the agent’s machine finds its domain controllers (DNS, /etc/krb5.conf).';
  }
  if (/server .*not found|unknown server|not found in kerberos database/i.test(text)) {
    return 'Check that the target’s host is the name that its service principal (HTTP/name or WSMAN/name) is registered for, or the user’s name.';
  }
  return 'Check user and password in the domain, and whether the account is locked or its password has expired.';
}
