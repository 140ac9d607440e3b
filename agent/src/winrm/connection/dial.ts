// Opens a socket to a WinRM listener: to the first of the host's addresses that answers, with TLS for HTTPS.
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { firstToAnswer } from '../../dialling/first-to-answer.ts';
import { unreachableAdvice } from '../../explain-error.ts';
import { abortable } from '../../timing/abortable.ts';
import { WinrmError } from '../winrm-error.ts';

export interface TlsOptions {
  /** PEM certificates that are trusted instead of the public ones. */
  ca?: string[];
  /** Accept whatever certificate the host shows: anyone in between can then read along. */
  insecure?: boolean;
  /** The client's certificate as PEM, if it authenticates with one. */
  certificate?: string;
  privateKey?: string;
  passphrase?: string;
}

export interface DialOptions {
  host: string;
  port: number;
  /** Undefined for HTTP. */
  tls: TlsOptions | undefined;
  /** How long one address may take to answer, TLS included. */
  connectTimeoutMs: number;
  /** How long all addresses together may take. */
  totalTimeoutMs: number;
  /** Returns the host's addresses in the order to try; rejects for those that may not be dialed. */
  addressesOf(host: string): Promise<readonly string[]>;
  signal: AbortSignal | undefined;
}

/**
 * Returns a connected socket.
 *
 * @throws {WinrmError} `notExecuted` if no address answers; whatever `addressesOf` rejects with; the signal's reason.
 */
export async function dial(options: DialOptions): Promise<Socket> {
  const { host, signal, totalTimeoutMs, connectTimeoutMs } = options;
  const deadline = performance.now() + totalTimeoutMs;
  let failure: unknown;
  return firstToAnswer<Socket>({
    addresses: await abortable(options.addressesOf(host), signal),
    connect: async (address, wanted) => {
      const leftMs = Math.ceil(deadline - performance.now());
      if (failure !== undefined && leftMs <= 0) throw failure;
      const limitMs = Math.max(1, Math.min(connectTimeoutMs, leftMs));
      try {
        return await dialAddress({ ...options, connectTimeoutMs: limitMs, signal: wanted }, address);
      } catch (error) {
        failure = error;
        throw error;
      }
    },
    discard: (socket) => socket.destroy(),
    signal,
  });
}

/** Returns the DER of the host's certificate on a TLS connection; undefined for HTTP. */
export function certificateOf(socket: Socket): Buffer | undefined {
  const { getPeerCertificate } = socket as Partial<TLSSocket>;
  return getPeerCertificate?.call(socket, false).raw;
}

async function dialAddress(options: DialOptions, address: string): Promise<Socket> {
  const { port, tls, connectTimeoutMs, signal } = options;
  const tcp = connectTcp({ host: address, port, noDelay: true, keepAlive: true });
  tcp.on('error', heard);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    tcp.destroy(new Error('timed out'));
  }, connectTimeoutMs);
  const onAbort = () => tcp.destroy(new Error('no longer wanted'));
  signal?.addEventListener('abort', onAbort);
  try {
    await happens(tcp, 'connect');
    return tls === undefined ? tcp : await secure(tcp, options, tls);
  } catch (error) {
    tcp.destroy();
    throw dialError(options, address, error, timedOut);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}

/**
 * A listener for errors. A socket may wait for a KDC or for the next request with nobody else listening, and an
 * unhandled error would end the agent. Whoever uses the socket next finds it destroyed.
 */
function heard(): void {}

async function secure(tcp: Socket, { host }: DialOptions, tls: TlsOptions): Promise<TLSSocket> {
  const { ca, insecure, certificate, privateKey, passphrase } = tls;
  const secured = connectTls({
    socket: tcp,
    // An IP address is not a server name (RFC 6066), but the certificate must be for it anyway.
    ...(isIP(host) ? { host } : { servername: host, host }),
    rejectUnauthorized: insecure !== true,
    minVersion: 'TLSv1.2',
    ...(ca === undefined ? {} : { ca }),
    // Windows asks for the certificate after it has read a request, by renegotiation. OpenSSL supports the TLS 1.3
    // replacement only for callers that enable it, which Node can't do.
    ...(certificate === undefined
      ? {}
      : { cert: certificate, key: privateKey, passphrase, maxVersion: 'TLSv1.2' as const }),
  });
  secured.on('error', heard);
  await happens(secured, 'secureConnect', tcp);
  return secured;
}

function happens(socket: Socket, event: string, below?: Socket): Promise<void> {
  return new Promise((resolve, reject) => {
    const sockets = below === undefined ? [socket] : [socket, below];
    const settle = (result: () => void) => {
      socket.off(event, onEvent);
      for (const each of sockets) each.off('error', onError).off('close', onClose);
      result();
    };
    const onEvent = () => settle(resolve);
    const onError = (error: Error) => settle(() => reject(error));
    const onClose = () => settle(() => reject(new Error('the connection was closed')));
    socket.once(event, onEvent);
    for (const each of sockets) each.once('error', onError).once('close', onClose);
  });
}

function dialError(options: DialOptions, address: string, cause: unknown, timedOut: boolean): WinrmError {
  const { host, port, tls, connectTimeoutMs } = options;
  const place = `${host}${address === host ? '' : ` (${address})`} port ${port}`;
  const { code = '', message = String(cause) } = (cause ?? {}) as NodeJS.ErrnoException;
  if (timedOut || code === 'ETIMEDOUT') {
    return new WinrmError({
      kind: 'connect_timed_out',
      message: `Nothing answered at ${place} within ${connectTimeoutMs / 1000} s.`,
      advice: 'Check that the host is up, and that its firewall lets the agent in to WinRM.',
      notExecuted: true,
      cause,
    });
  }
  if (code === 'ECONNREFUSED') {
    return new WinrmError({
      kind: 'connection_refused',
      message: `Nothing listens at ${place}: the connection was refused.`,
      advice: `Enable WinRM there (${tls === undefined ? 'winrm quickconfig' : 'winrm quickconfig -transport:https'}), or correct the target’s port.`,
      notExecuted: true,
      cause,
    });
  }
  if (tls !== undefined && isCertificateProblem(code)) {
    return new WinrmError({
      kind: 'certificate',
      message: `The certificate of ${place} is not trusted: ${message}.`,
      advice:
        'Give the target the certificate authority that issued it, correct the host name, or renew the certificate on the host.',
      notExecuted: true,
      cause,
    });
  }
  const isTls = tls !== undefined && /^(ERR_SSL|EPROTO|ERR_TLS)/.test(code);
  if (tls?.certificate !== undefined && /PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL/.test(code)) {
    return new WinrmError({
      kind: 'auth_unavailable',
      message: `${place} does not accept TLS 1.2, which a client certificate requires (${message}).`,
      advice: 'Allow TLS 1.2 on the host, or use another credential for the target.',
      notExecuted: true,
      cause,
    });
  }
  return new WinrmError({
    kind: 'unreachable',
    message: isTls
      ? `${place} did not answer with TLS (${message}).`
      : `There is no way from the agent to ${place} (${code || message}).`,
    advice: isTls
      ? 'Port 5986 is for HTTPS and 5985 for HTTP; check port and transport of the target.'
      : unreachableAdvice(code),
    notExecuted: true,
    cause,
  });
}

function isCertificateProblem(code: string): boolean {
  return (
    /^(CERT|UNABLE_TO|DEPTH_ZERO|SELF_SIGNED|CRL|INVALID_(CA|PURPOSE)|HOSTNAME_MISMATCH)/.test(code) ||
    code === 'ERR_TLS_CERT_ALTNAME_INVALID'
  );
}
