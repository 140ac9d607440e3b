// The first contact looks at the certificates that the server shows. Nothing is trusted or sent until the topmost of
// them turns out to be the one that the pin names.
import { createHash, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls, type DetailedPeerCertificate } from 'node:tls';
import { AgentError } from '../agent-error.ts';
import { bareHost, type ProxySettings, proxyFor } from '../connection/proxy.ts';
import { connectThroughProxy } from './proxy-tunnel.ts';

const timeoutMs = 15_000;

/**
 * Returns `sha256:` and the hex digest of the certificate's SubjectPublicKeyInfo, which a renewed certificate with the
 * same key keeps.
 */
export function pinOf(certificate: X509Certificate): string {
  const spki = certificate.publicKey.export({ type: 'spki', format: 'der' });
  return `sha256:${createHash('sha256').update(spki).digest('hex')}`;
}

/** Returns the topmost certificate of the chain that the server presents. Nothing about it is verified here. */
export async function presentedRoot(server: URL, proxy: ProxySettings): Promise<X509Certificate> {
  const host = bareHost(server);
  const port = Number(server.port || 443);
  const signal = AbortSignal.timeout(timeoutMs);
  const through = proxyFor(server, proxy);
  const tcp = through
    ? await connectThroughProxy(through, host, port, signal)
    : await dial(host, port, signal);
  const socket = connectTls({
    socket: tcp,
    // The socket is only looked at: the pin decides about the chain, and this side sends nothing over it.
    rejectUnauthorized: false,
    ...(isIP(host) ? {} : { servername: host }),
  });
  tcp.once('error', (error) => socket.destroy(error));
  socket.on('error', () => undefined); // `once` below reports the first error; its echo has no listener any more
  try {
    await once(socket, 'secureConnect', { signal });
    return topmost(socket.getPeerCertificate(true));
  } finally {
    socket.destroy();
    tcp.destroy();
  }
}

/** TLS begins only once this is there: until then, Node.js may give up one address of the host and try another. */
async function dial(host: string, port: number, signal: AbortSignal): Promise<Socket> {
  const tcp = connectTcp(port, host);
  try {
    await once(tcp, 'connect', { signal });
    return tcp;
  } catch (error) {
    tcp.destroy();
    throw error;
  }
}

/** Returns the certificates of a CA file, in order. */
export function readCertificates(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

function topmost(leaf: DetailedPeerCertificate): X509Certificate {
  let current = leaf;
  // A self-signed certificate is its own issuer.
  while (current.issuerCertificate && current.issuerCertificate.fingerprint256 !== current.fingerprint256) {
    current = current.issuerCertificate;
  }
  if (!current.raw) {
    throw new AgentError('The server showed no certificate.', 'Check the address and the port.');
  }
  return new X509Certificate(current.raw);
}
