import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { pinOfCertificate } from './certificate-pin.ts';
import type { ServerTls } from './server-tls.ts';
import { TlsError } from './tls-error.ts';

const serverAuth = '1.3.6.1.5.5.7.3.1';
const pemBlock = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/**
 * Loads a certificate from elsewhere: `certFile` holds the server's certificate followed by its issuers, `keyFile` the
 * key. `caPin` is the pin of the last certificate in the file: the root, or otherwise the topmost issuer in it.
 *
 * @throws {TlsError} saying what is wrong with which file.
 */
export async function loadGivenTls(options: {
  certFile: string;
  keyFile: string;
  now?: Date;
}): Promise<ServerTls> {
  const { certFile, keyFile, now = new Date() } = options;
  const certPem = await readGiven(certFile);
  const keyPem = await readGiven(keyFile);
  const chain = parseChain(certPem, certFile);
  const key = parseKey(keyPem, keyFile);
  const [leaf] = chain;
  const last = chain.at(-1);
  if (leaf === undefined || last === undefined) {
    throw new TlsError(`${certFile} holds no certificate (expected: PEM, the server's certificate first).`);
  }
  if (!leaf.checkPrivateKey(key)) {
    const other = chain.findIndex((certificate) => certificate.checkPrivateKey(key));
    throw new TlsError(
      `${keyFile} is not the key of the first certificate in ${certFile} (${describe(leaf)}).` +
        (other === -1 ? '' : ` It is the key of certificate ${other + 1}: put that one first.`),
    );
  }
  if (leaf.ca) {
    throw new TlsError(
      `The first certificate in ${certFile} (${describe(leaf)}) is a certificate authority's. Give one that it has signed, ` +
        'or one that is self-signed with CA:FALSE (openssl req -x509 -addext basicConstraints=critical,CA:FALSE); ' +
        'or leave it out: beyond loopback, or with --tls, the server makes a certificate with a CA of its own.',
    );
  }
  if (leaf.keyUsage !== undefined && !leaf.keyUsage.includes(serverAuth)) {
    throw new TlsError(`The first certificate in ${certFile} (${describe(leaf)}) is not meant for servers.`);
  }
  checkDates(chain, certFile, now);
  checkOrder(chain, certFile);
  return { certPem, keyPem, caPem: last.toString(), caPin: pinOfCertificate(last.raw) };
}

async function readGiven(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new TlsError(`${path} can't be read: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

function parseChain(pem: string, path: string): X509Certificate[] {
  return (pem.match(pemBlock) ?? []).map((block, index) => {
    try {
      return new X509Certificate(block);
    } catch (cause) {
      throw new TlsError(`Certificate ${index + 1} in ${path} is damaged.`, { cause });
    }
  });
}

function parseKey(pem: string, path: string): KeyObject {
  if (/ENCRYPTED/.test(pem)) {
    throw new TlsError(
      `The key in ${path} has a passphrase. Store it without one, readable by the server only.`,
    );
  }
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw new TlsError(`${path} holds no private key (expected: PEM).`, { cause });
  }
}

function checkDates(chain: X509Certificate[], path: string, now: Date): void {
  for (const [index, certificate] of chain.entries()) {
    const which = `Certificate ${index + 1} in ${path} (${describe(certificate)})`;
    if (Date.parse(certificate.validTo) < now.getTime()) {
      throw new TlsError(`${which} expired on ${certificate.validTo}.`);
    }
    if (Date.parse(certificate.validFrom) > now.getTime()) {
      throw new TlsError(`${which} is not valid before ${certificate.validFrom}.`);
    }
  }
}

function checkOrder(chain: X509Certificate[], path: string): void {
  for (const [index, certificate] of chain.entries()) {
    const issuer = chain[index + 1];
    if (issuer === undefined) return;
    if (!certificate.checkIssued(issuer) || !certificate.verify(issuer.publicKey)) {
      throw new TlsError(
        `In ${path}, certificate ${index + 2} (${describe(issuer)}) did not issue certificate ${index + 1} ` +
          `(${describe(certificate)}). Put the server's certificate first and each issuer after what it issued.`,
      );
    }
  }
}

function describe(certificate: X509Certificate): string {
  return certificate.subject?.replaceAll('\n', ', ') || certificate.subjectAltName || 'no subject';
}
