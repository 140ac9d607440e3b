// Explains replies of a host with an HTTP status and no SOAP.

import type { Place } from '../login/login.ts';
import { rightsAdvice, WinrmError } from '../winrm-error.ts';
import type { HttpReply } from './http-exchange.ts';

const names = {
  ntlm: 'NTLM',
  kerberos: 'Kerberos',
  basic: 'Basic',
  certificate: 'a client certificate',
} as const;

/**
 * The clock skew that Kerberos allows unless a domain says otherwise, and how old a reply's time may be when it is
 * read.
 */
const maxClockSkewMs = 300_000;
const answerMs = 15_000;

/** Explains a 401 that no further try can help. */
export function authenticationError({ host, method, isTls }: Place, reply: HttpReply): WinrmError {
  const offered = schemesIn(reply);
  const wanted = { ntlm: 'negotiate', kerberos: 'kerberos', basic: 'basic', certificate: '' }[method];
  if (wanted !== '' && offered.length > 0 && !offered.some((scheme) => scheme.toLowerCase() === wanted)) {
    return new WinrmError({
      kind: 'auth_unavailable',
      message: `${host} does not accept authentication by ${names[method]}; it offers ${offered.join(', ')}.`,
      advice: `Allow it on the host (winrm set winrm/config/service/auth), or choose another authentication for the target.`,
      notExecuted: true,
    });
  }
  if (method === 'kerberos') return ticketRefused(host, reply);
  if (method === 'basic') {
    return new WinrmError({
      kind: 'auth_failed',
      message: `${host} refused the login by Basic.`,
      advice:
        'Check user and password. Windows accepts Basic only from its own users, by their name without a domain, and only if they may use WinRM (an administrator of the host may).',
      notExecuted: true,
    });
  }
  return new WinrmError({
    kind: 'auth_failed',
    message: `${host} refused the login by ${names[method]}.`,
    advice: isTls
      ? 'Check user and password, that the user may log on over the network, and whether there is a proxy between agent and host (channel binding).'
      : 'Check user and password, and that the user may log on over the network.',
    notExecuted: true,
  });
}

/**
 * Explains a 401 for a message right after a successful login. Windows has two gates: the login, and the list of who
 * may use the listener (`RootSDDL`), which is checked with the first message.
 */
export function notAllowed({ host, method }: Place): WinrmError {
  return new WinrmError({
    kind: 'not_authorized',
    message: `${host} accepted the login by ${names[method]}, but does not let this user use WinRM (HTTP 401).`,
    advice: rightsAdvice,
    notExecuted: true,
  });
}

/**
 * Windows asks for the certificate after reading the first request, and breaks the connection if it does not get one.
 */
export function certificateNotTaken({ host }: Place, cause: WinrmError): WinrmError {
  return new WinrmError({
    kind: cause.kind,
    message: `${host} ended the connection instead of answering the first request, for which it asks for the client certificate.`,
    advice:
      'Check on the host that certificates are accepted (winrm set winrm/config/service/auth @{Certificate="true"}), and that this one is mapped to a user there and issued by an authority that it trusts for that.',
    cause,
  });
}

/**
 * The domain has issued a ticket for the host, so user and password are right. The host only says that it refuses the
 * ticket.
 */
function ticketRefused(host: string, { headers }: HttpReply): WinrmError {
  const aheadMs = Date.parse(headers.date ?? '') - Date.now();
  const isSkewed = Math.abs(aheadMs) > maxClockSkewMs - answerMs;
  const minutes = Math.round(Math.abs(aheadMs) / 60_000);
  const skew = `, and its clock is ${minutes} minutes ${aheadMs > 0 ? 'ahead of' : 'behind'} this machine’s`;
  return new WinrmError({
    kind: 'auth_failed',
    message: `${host} refused the login by Kerberos${isSkewed ? skew : ''}.`,
    advice: isSkewed
      ? 'Kerberos allows for five minutes: set the clocks of the host and of the domain controllers (NTP).'
      : 'The domain has accepted user and password. Check that the user may log on to the host over the network, that the clocks of host and domain controllers agree within five minutes, and the host’s account in the domain.',
    notExecuted: true,
  });
}

/** Returns undefined for a status that says nothing by itself. */
export function statusError({ host, port }: Place, reply: HttpReply): WinrmError | undefined {
  const { status } = reply;
  const place = `${host} port ${port}`;
  if (status === 403) {
    return new WinrmError({
      kind: 'not_authorized',
      message: `${place} does not let this user use WinRM (HTTP 403).`,
      advice: rightsAdvice,
      notExecuted: true,
    });
  }
  if (status === 407 || (status >= 300 && status < 400) || status === 404 || status === 405) {
    const what = status === 407 ? 'a proxy' : status < 400 ? 'a redirect, which is not followed' : 'no WinRM';
    return new WinrmError({
      kind: 'not_winrm',
      message: `At ${place} there is ${what} (HTTP ${status}).`,
      advice: 'Check port and transport of the target, and what is between agent and host.',
      notExecuted: true,
    });
  }
  if (status === 413) {
    return new WinrmError({
      kind: 'too_large',
      message: `${place} accepts no messages of that size (HTTP 413).`,
      advice:
        'Its MaxEnvelopeSizekb is below the 150 KB that Windows has had since 2008: run winrm set winrm/config @{MaxEnvelopeSizekb="500"} on the host.',
      notExecuted: true,
    });
  }
  if (status === 500 && reply.body.length === 0) {
    return new WinrmError({
      kind: 'unencrypted_refused',
      message: `${place} refused the message without a reason (HTTP 500), as Windows does if traffic is not encrypted the way it wants.`,
      advice: 'Use NTLM or Kerberos, which seal every message, or HTTPS.',
      notExecuted: true,
    });
  }
  if (status === 503 || status === 502 || status === 504) {
    return new WinrmError({
      kind: 'unreachable',
      message: `${place} is not available at the moment (HTTP ${status}).`,
      advice: 'Check that the WinRM service runs on the host.',
    });
  }
  return undefined;
}

function schemesIn({ headers }: HttpReply): string[] {
  const header = headers['www-authenticate'] ?? '';
  return [
    ...new Set(
      [...header.matchAll(/(?:^|,\s*)([A-Za-z][A-Za-z0-9-]*)(?=\s*(?:,|$|\s[^=,\s]))/g)].map(
        ([, name]) => name as string,
      ),
    ),
  ].slice(0, 8);
}
