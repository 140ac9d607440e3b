// Explains errors of networks, TLS and disks to the person who can fix them.
import { AgentError } from './agent-error.ts';
import { agentCommand } from './command-line/typed-command.ts';
import { type ProxySettings, proxyFor, withoutProxy } from './connection/proxy.ts';
import { errorCode } from './identity/durable-file.ts';

/**
 * Returns what happened and what to do, for an error met while reaching `server`. An AgentError is returned as it is.
 */
export function explainReachError(
  error: unknown,
  server: string,
  proxy: ProxySettings = withoutProxy,
): AgentError {
  if (error instanceof AgentError) return error;
  const code = errorCode(error);
  const through = proxyFor(new URL(server), proxy);
  if (through !== undefined && !URL.canParse(through)) {
    return new AgentError('HTTPS_PROXY is not the address of a proxy.', proxyForm, { cause: error });
  }
  // Only the proxy is dialed in this case; problems on its own way to the server it reports as an HTTP status.
  if (through !== undefined && code !== undefined && dialCodes.has(code)) {
    const [what = ''] = explanations[code] ?? [];
    const { host } = new URL(through);
    return new AgentError(`The proxy ${host}, through which ${server} is reached, ${what}.`, proxyFix, {
      cause: error,
    });
  }
  const status = answeredStatus(error);
  if (status !== undefined) return explainAnswer(server, status, error);
  const known = code === undefined ? undefined : explanations[code];
  const detail = error instanceof Error ? error.message || code || error.name : String(error);
  const [what, fix] = known ?? [
    `could not be reached: ${detail}`,
    'Check the address, the network and the proxy.',
  ];
  return new AgentError(`${server} ${what}.`, fix, { cause: error });
}

/** What to check if a target can't be reached, by the code of the operating system. */
export function unreachableAdvice(code: string | undefined): string {
  return code === 'EHOSTUNREACH' || code === 'EHOSTDOWN'
    ? 'Check that the host is switched on, its address, and the routes of the machine the agent runs on. A host in the agent’s own network that is off looks like this, too.'
    : 'Check the target’s address, and the routes of the machine the agent runs on.';
}

/** The HTTP status that came in place of a WebSocket, in the words of `ws`. */
function answeredStatus(error: unknown): number | undefined {
  const found = error instanceof Error ? /^Unexpected server response: (\d{3})$/.exec(error.message) : null;
  return found === null ? undefined : Number(found[1]);
}

function explainAnswer(server: string, status: number, cause: unknown): AgentError {
  const what = `${server} answered the agent’s WebSocket with HTTP ${status}.`;
  const fix =
    status >= 300 && status < 400
      ? 'It redirects elsewhere, which agents don’t follow: use the address that it leads to.'
      : (answerFixes[status] ??
        'If a proxy is in front of the server, it has to pass WebSockets on: HTTP/1.1 with the headers Upgrade and Connection (“A proxy in front” in docs/operations.md). Otherwise check that the address is that of an OpsConductor server.');
  return new AgentError(what, fix, { cause });
}

const nobodyBehind =
  'A proxy or load balancer in front reaches no server: check that the server runs, and where the proxy sends this.';
const answerFixes: Readonly<Record<number, string>> = {
  421: 'The server doesn’t know itself by this name. Give it with --public-url or --allowed-host; a proxy in front has to pass the header Host on.',
  429: 'Too many connections come from this address. Is there another agent with the same data directory, or something else that connects again and again?',
  502: nobodyBehind,
  503: `${nobodyBehind} A server that stops or starts answers this for a moment.`,
  504: nobodyBehind,
};

/** Returns what to do about a system error that a file or folder met; undefined for any other error. */
export function explainFileError(error: unknown): AgentError | undefined {
  const { errno, syscall } = Object(error) as NodeJS.ErrnoException;
  const code = errorCode(error);
  if (!(error instanceof Error) || code === undefined || typeof errno !== 'number' || syscall === undefined)
    return undefined;
  return new AgentError(`${error.message}.`, fileFixes[code] ?? dataFix, { cause: error });
}

const dataFix = `Look at that file or folder and its disk; ${agentCommand()} doctor checks what an agent needs.`;
const roomFix =
  'Make room on the disk that holds the agent’s data directory (--data); nothing is lost until then.';
const ownerFix = 'Run the agent as the user who owns its data directory, or correct the owner there.';
const fileFixes: Record<string, string> = {
  EROFS:
    'The file system is mounted read-only. The kernel log (dmesg) says why, most often a fault of the disk; check it and mount it writable.',
  EIO: 'The disk has a fault: see the kernel log (dmesg).',
  ENOSPC: roomFix,
  EDQUOT: roomFix,
  EACCES: ownerFix,
  EPERM: ownerFix,
  EMFILE: 'Allow the agent to open more files: ulimit -n, or LimitNOFILE of its systemd unit.',
};

const dialCodes: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);
const proxyForm = 'It should look like http://proxy.example.com:3128.';
const proxyFix =
  'Check HTTPS_PROXY, and that the proxy runs; a server that is reached without it belongs in NO_PROXY.';
const clock = 'Compare the clock of this machine with that of the server, and correct the wrong one (NTP).';
const wrongCa =
  'Check that the address leads to the OpsConductor server and not to another or to an intercepting proxy. If the server has a CA of its own, give it with --ca-file: on the server it is <data>/tls/ca.pem. An agent whose server got a new CA learns it by use-server.';
const explanations: Record<string, readonly [what: string, fix: string]> = {
  ECONNREFUSED: ['refused the connection', 'Check that the server runs and listens on that port.'],
  ECONNRESET: ['broke the connection', 'Check what is in between: a firewall or a proxy may close it.'],
  ENOTFOUND: [
    'is not known to the name service',
    'Check the spelling of the host name, and the DNS of this machine.',
  ],
  EAI_AGAIN: ['could not be looked up: the name service did not answer', 'Check the DNS of this machine.'],
  ETIMEDOUT: [
    'did not answer in time',
    'Check that a firewall lets this machine out to that port, or set HTTPS_PROXY.',
  ],
  EHOSTUNREACH: ['can not be reached: there is no route to it', 'Check the network of this machine.'],
  ENETUNREACH: ['can not be reached: there is no route to its network', 'Check the network of this machine.'],
  EPROTO: [
    'does not speak TLS there',
    'Check the port. A server on this machine may speak plain HTTP: then the address begins with http://.',
  ],
  ERR_SSL_WRONG_VERSION_NUMBER: [
    'does not speak TLS there',
    'Check the port. A server on this machine may speak plain HTTP: then the address begins with http://.',
  ],
  CERT_NOT_YET_VALID: ['has a certificate that is not valid yet', clock],
  CERT_HAS_EXPIRED: ['has a certificate that has expired', `Renew it on the server. ${clock}`],
  ERR_TLS_CERT_ALTNAME_INVALID: [
    'has a certificate for another host name',
    'Use the name that the certificate is for, or add this one to it (the server’s --public-url or --allowed-host).',
  ],
  DEPTH_ZERO_SELF_SIGNED_CERT: ['has a certificate that is not trusted here', wrongCa],
  SELF_SIGNED_CERT_IN_CHAIN: ['has a certificate that is not trusted here', wrongCa],
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: ['has a certificate that is not trusted here', wrongCa],
  UNABLE_TO_GET_ISSUER_CERT: ['has a certificate whose issuer is not known here', wrongCa],
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: ['has a certificate whose issuer is not known here', wrongCa],
  CERT_SIGNATURE_FAILURE: ['has a certificate that its CA did not sign', wrongCa],
};
