// Adds host certificates to ssh2, which supports only plain host keys (ADR 0015). In a key exchange that negotiated a
// certificate, the exchange hash covers the whole certificate, but the signature over it is made by the key inside. So
// each key exchange of a client is given what ssh2 has to compare at each point: the certificate while the reply is
// read, and the plain key once the hash includes the certificate. If a version of ssh2 changed that order, the
// signature would not match and the connection would fail; a wrong host could not be accepted because of that.
import constants from 'ssh2/lib/protocol/constants.js';
import type { KeyExchange } from '../ssh2/key-exchanges.ts';
import { type Certificate, certificateSuffix, readCertificate } from './host-certificate.ts';
import { WireReader } from './wire-reader.ts';

/** The certificate algorithms to offer, best first, without SHA-1. */
export const certificateAlgorithms = [
  'ssh-ed25519-cert-v01@openssh.com',
  'ecdsa-sha2-nistp256-cert-v01@openssh.com',
  'ecdsa-sha2-nistp384-cert-v01@openssh.com',
  'ecdsa-sha2-nistp521-cert-v01@openssh.com',
  'rsa-sha2-512-cert-v01@openssh.com',
  'rsa-sha2-256-cert-v01@openssh.com',
] as const;

// ssh2 refuses to offer algorithms that are not on this list.
const supported = constants.SUPPORTED_SERVER_HOST_KEY as string[];
for (const algorithm of certificateAlgorithms) if (!supported.includes(algorithm)) supported.push(algorithm);

/**
 * Makes a key exchange accept a host certificate.
 *
 * @returns the host key algorithms that the server offers
 */
export function takeCertificates(exchange: KeyExchange): string[] {
  if (exchange.negotiated.serverHostKey.endsWith(certificateSuffix)) takeCertificate(exchange);
  return exchange._remoteKexinit === undefined ? [] : offeredAlgorithms(exchange._remoteKexinit);
}

function takeCertificate(exchange: KeyExchange): void {
  const { negotiated } = exchange;
  const signedBy = negotiated.serverHostKey.slice(0, -certificateSuffix.length);
  // RSA certificates have only one type, whichever hash the key signs with.
  if (signedBy.startsWith('rsa-')) negotiated.serverHostKey = `ssh-rsa${certificateSuffix}`;
  const finish = exchange.finish.bind(exchange);
  const getPublicKey = exchange.getPublicKey.bind(exchange);
  exchange.finish = (...given) => {
    const certificate = certificateOf(exchange._hostKey);
    // The check of the host key has refused an unreadable certificate before. Otherwise ssh2 finds here that key and
    // signature don't match, and the connection fails.
    if (certificate === undefined) return finish(...given);
    negotiated.serverHostKey = signedBy;
    // ssh2 calls this right after it has hashed what was presented.
    exchange.getPublicKey = () => {
      exchange._hostKey = certificate.plainKey;
      return getPublicKey();
    };
    try {
      return finish(...given);
    } finally {
      exchange.getPublicKey = getPublicKey;
    }
  };
}

function certificateOf(presented: Buffer | undefined): Certificate | undefined {
  try {
    return presented === undefined ? undefined : readCertificate(presented);
  } catch {
    return undefined;
  }
}

/** Returns the host key algorithms of a server's SSH_MSG_KEXINIT (RFC 4253, section 7.1). */
function offeredAlgorithms(kexinit: Buffer): string[] {
  try {
    // Skip the message number and the cookie, then the key exchange methods.
    const reader = new WireReader(kexinit.subarray(17));
    reader.string();
    return reader.text().split(',');
  } catch {
    return [];
  }
}
