// Host certificates in ssh2, which knows plain host keys only (ADR 0015). Of a key exchange that negotiated a
// certificate the exchange hash covers the certificate whole, and the signature over it is by the key inside. So each key
// exchange of a client is told, one step at a time, what ssh2 has to compare: the certificate while the reply is read,
// the plain key once the hash has taken the certificate in. Were ssh2 to change that order, the signature would not fit
// and the connection fail; it can't be accepted for it.
import type { Client } from 'ssh2';
import constants from 'ssh2/lib/protocol/constants.js';
import { type Certificate, readCertificate } from './host-certificate.ts';
import { WireReader } from './wire-reader.ts';

/** What to offer for certificates, the best first; without SHA-1. */
export const certificateAlgorithms = [
  'ssh-ed25519-cert-v01@openssh.com',
  'ecdsa-sha2-nistp256-cert-v01@openssh.com',
  'ecdsa-sha2-nistp384-cert-v01@openssh.com',
  'ecdsa-sha2-nistp521-cert-v01@openssh.com',
  'rsa-sha2-512-cert-v01@openssh.com',
  'rsa-sha2-256-cert-v01@openssh.com',
] as const;
const suffix = '-cert-v01@openssh.com';

// ssh2 refuses to offer what is not on this list.
const supported = constants.SUPPORTED_SERVER_HOST_KEY as string[];
for (const algorithm of certificateAlgorithms) if (!supported.includes(algorithm)) supported.push(algorithm);

/** The parts of ssh2's key exchange that are touched here. */
interface KeyExchange {
  negotiated: { serverHostKey: string };
  _hostKey: Buffer | undefined;
  _remoteKexinit: Buffer | undefined;
  parse(payload: Buffer): unknown;
  finish(...given: unknown[]): unknown;
  getPublicKey(): Buffer;
}

/**
 * Lets a client whose `connect` was just called take host certificates, in this key exchange and in those that follow.
 *
 * @param onOffer Told which host key algorithms the server offers.
 */
export function takeCertificates(client: Client, onOffer?: (algorithms: string[]) => void): void {
  const protocol = (client as unknown as { _protocol: { _kex: KeyExchange | undefined } })._protocol;
  let current = protocol._kex;
  Object.defineProperty(protocol, '_kex', {
    configurable: true,
    get: () => current,
    set: (exchange: KeyExchange | undefined) => {
      current = exchange;
      if (exchange === undefined) return;
      if (exchange._remoteKexinit !== undefined) onOffer?.(offeredAlgorithms(exchange._remoteKexinit));
      if (exchange.negotiated.serverHostKey.endsWith(suffix)) takeCertificate(exchange);
    },
  });
}

function takeCertificate(exchange: KeyExchange): void {
  const { negotiated } = exchange;
  const signedBy = negotiated.serverHostKey.slice(0, -suffix.length);
  // An RSA certificate has one type, whatever its key signs with.
  if (signedBy.startsWith('rsa-')) negotiated.serverHostKey = `ssh-rsa${suffix}`;
  const finish = exchange.finish.bind(exchange);
  const getPublicKey = exchange.getPublicKey.bind(exchange);
  exchange.finish = (...given) => {
    const certificate = certificateOf(exchange._hostKey);
    // What is none was refused before; ssh2 then finds that key and signature differ.
    if (certificate === undefined) return finish(...given);
    negotiated.serverHostKey = signedBy;
    // Asked for right after the hash has taken in what was presented.
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

/** The host key algorithms of a server's SSH_MSG_KEXINIT (RFC 4253, section 7.1). */
function offeredAlgorithms(kexinit: Buffer): string[] {
  try {
    // Message number and cookie, then the key exchange methods.
    const reader = new WireReader(kexinit.subarray(17));
    reader.string();
    return reader.text().split(',');
  } catch {
    return [];
  }
}
