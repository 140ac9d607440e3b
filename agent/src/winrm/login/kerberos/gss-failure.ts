import { visible } from '../../../command-line/visible.ts';
import { cutText } from '../../../cut-text.ts';
import { WinrmError } from '../../winrm-error.ts';

/** The texts of the library are shorter; one that a KDC sends may have any length. */
const maxProblemLength = 300;

/** Returns what the library says went wrong, with what to check. It may say it in words of the KDC. */
export function loginFailure(problem: string): WinrmError {
  return new WinrmError({
    kind: 'auth_failed',
    message: `The login by Kerberos failed: ${visible(cutText(problem, maxProblemLength))}.`,
    advice: adviceFor(problem),
    notExecuted: true,
  });
}

/**
 * Returns the reason for which something that waited for a KDC was given up: that none has answered, if its time was up.
 */
export function givenUp(error: unknown, signal: AbortSignal | undefined, realm: string): unknown {
  const isLate = signal?.aborted === true && error === signal.reason && Object(error).name === 'TimeoutError';
  return isLate ? loginFailure(`No KDC has answered in time for realm '${realm}'`) : error;
}

/** Returns what kept this machine from asking a KDC at all. */
export function kerberosUnusable(cause: unknown): WinrmError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new WinrmError({
    kind: 'auth_unavailable',
    message: `This agent can not use Kerberos: ${visible(why)}.`,
    advice: unusableAdvice(cause),
    notExecuted: true,
    cause,
  });
}

function unusableAdvice(cause: unknown): string {
  const { code = '', message = '' } = (cause ?? {}) as { code?: string; message?: string };
  if (/thread|resource|memory|EAGAIN|EMFILE|ENFILE|ENOMEM/i.test(`${code} ${message}`))
    return 'Check how many processes, threads and open files the agent may have (TasksMax and LimitNOFILE of its unit, ulimit -u) and the memory of its machine; then try again.';
  return 'Install libgssapi-krb5-2 (Debian) or krb5-libs (Red Hat) on the agent’s machine, with koffi 3.3.4 next to the agent, and restart the agent; or use NTLM.';
}

function adviceFor(text: string): string {
  if (/clock skew/i.test(text))
    return 'Set the clocks of the agent’s machine and of the domain controllers (NTP).';
  if (
    /ticket.*expired|credentials? (have |has )?expired|no credentials? cache|cache.*not found/i.test(text)
  ) {
    return 'Renew the tickets in the cache on the agent’s machine (kinit, k5start), and check that the agent’s user may read it. With a password or a keytab: set that machine’s clock (NTP), because by that clock even new tickets have expired.';
  }
  if (
    !/default realm/i.test(text) &&
    /configuration file|profile (file|section|library)|krb5\.conf/i.test(text)
  ) {
    return 'Check /etc/krb5.conf on the agent’s machine, and what it includes: the agent’s user must be able to read it, and its syntax must be right.';
  }
  if (/key ?table|keytab|no suitable keys/i.test(text)) {
    return 'Recreate the keytab for exactly that user and realm, with AES keys (ktutil, ktpass), and store it in the credential: klist -k shows whose keys it holds.';
  }
  if (/encryption type|etype/i.test(text)) {
    return 'Allow AES for the accounts of user and host (msDS-SupportedEncryptionTypes), and in /etc/krb5.conf on the agent’s machine.';
  }
  if (/message type|generic error|asn\.1|kdc returned|protocol error|malformed/i.test(text)) {
    return 'Check in DNS or /etc/krb5.conf that what answers for the realm is one of its domain controllers, and look at that one’s log.';
  }
  if (/cache type/i.test(text)) {
    return 'Name the cache as the Kerberos library of the agent’s machine knows it, such as FILE:/path.';
  }
  if (/pre-?authentication (is )?required/i.test(text)) {
    return 'The domain asks for more than a password or a key, such as a smart card or a code: use an account without that.';
  }
  if (/cannot (find|contact|resolve)|realm/i.test(text)) {
    return 'Check the realm in the user’s name, and that the agent’s machine finds its domain controllers (DNS, /etc/krb5.conf).';
  }
  if (/server .*not found|unknown server|not found in kerberos database/i.test(text)) {
    return 'Check that the target’s host is the name that its service principal (HTTP/name or WSMAN/name) is registered for, or the user’s name.';
  }
  return 'Check user and password in the domain, and whether the account is locked or its password has expired.';
}
