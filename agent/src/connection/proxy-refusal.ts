// What a proxy answers, or shows, before it has connected to the server: none of it is the server's.
import { AgentError } from '../agent-error.ts';
import { errorCode } from '../identity/durable-file.ts';

/** The proxy does not connect to the server. */
export class ProxyRefusal extends AgentError {
  readonly status: number;

  /**
   * @param proxy its URL, of which only host and port are told.
   * @param authority host and port that it was asked for.
   */
  constructor(proxy: URL, authority: string, status: number) {
    super(
      `The proxy ${proxy.host} refused a connection to ${authority} (HTTP ${status}).`,
      fixOf(proxy, status),
    );
    this.status = status;
  }
}

function fixOf({ username }: URL, status: number): string {
  // 401 is how some proxies answer a wrong password.
  if (status === 407 || status === 401) {
    return username === ''
      ? 'Give the user and password of the proxy in HTTPS_PROXY: http://user:password@proxy:port.'
      : 'Check the user and password in HTTPS_PROXY; characters like @ : / # % in them are written as %40 and so on. A proxy that takes no user and password in this form (Basic) has to let this machine out without.';
  }
  return status >= 502 && status <= 504
    ? 'The proxy does not reach the server: check that the server runs, and that the proxy may connect to it and knows its name.'
    : 'Allow that destination on the proxy, or name the server in NO_PROXY to connect directly.';
}

/**
 * Returns the error to report if the connection to a proxy whose address begins with https: failed; undefined if TLS is
 * not the cause.
 */
export function explainProxyTls(proxy: URL, cause: unknown): AgentError | undefined {
  const code = errorCode(cause);
  if (proxy.protocol !== 'https:' || code === undefined) return undefined;
  if (noTlsCodes.has(code)) {
    return new AgentError(
      `The proxy ${proxy.host} does not speak TLS.`,
      'Its address in HTTPS_PROXY most likely begins with http://, also for a server that is reached over TLS.',
      { cause },
    );
  }
  if (!/CERT|SIGNATURE/.test(code)) return undefined;
  return new AgentError(
    `The certificate of the proxy ${proxy.host} is not accepted here: ${cause instanceof Error ? cause.message : code}.`,
    'Name a file with the CA of the proxy in NODE_EXTRA_CA_CERTS, and the proxy by the name that its certificate is for.',
    { cause },
  );
}

const noTlsCodes: ReadonlySet<string> = new Set(['EPROTO', 'ERR_SSL_WRONG_VERSION_NUMBER']);
