// The only module that loads @peculiar/x509, and only when a certificate is read or made: loading it takes a quarter of
// a server's start, and most servers have no certificate authority of their own.
import { generateKeyPairSync, type KeyObject, webcrypto } from 'node:crypto';
import type * as x509 from '@peculiar/x509';

const dayMs = 24 * 60 * 60 * 1000;
/** Clocks of agents and browsers may be behind ours. */
const clockSkewMs = 60 * 60 * 1000;
const caDays = 3650;
/** The CA/Browser Forum's limit, which some clients apply to private CAs, too. */
const serverDays = 397;

const keyAlgorithm = { name: 'ECDSA', namedCurve: 'P-256' };
const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' };

async function loadLibrary(): Promise<typeof x509> {
  // The library fails unless this was loaded before.
  await import('reflect-metadata');
  const library = await import('@peculiar/x509');
  library.cryptoProvider.set(webcrypto);
  return library;
}

export type X509Certificate = x509.X509Certificate;

export interface CertificateAuthority {
  key: KeyObject;
  certificate: x509.X509Certificate;
}

export function generateKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

export function keyToPem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

/** Reads a certificate from PEM or DER. */
export async function readCertificate(encoded: string | Buffer): Promise<X509Certificate> {
  const { X509Certificate } = await loadLibrary();
  return new X509Certificate(encoded);
}

/**
 * Issues a root certificate for a key. One issued again for the same key and subject replaces the former without
 * changing the pin.
 */
export async function issueCaCertificate(
  key: KeyObject,
  subject: string,
  now: Date,
): Promise<x509.X509Certificate> {
  const x509 = await loadLibrary();
  const keys = await toCryptoKeys(key);
  const notBefore = new Date(now.getTime() - clockSkewMs);
  return x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: subject,
    notBefore,
    notAfter: new Date(notBefore.getTime() + caDays * dayMs),
    signingAlgorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
}

export async function issueServerCertificate(
  authority: CertificateAuthority,
  key: KeyObject,
  names: x509.JsonGeneralNames,
  now: Date,
): Promise<x509.X509Certificate> {
  const x509 = await loadLibrary();
  const { publicKey } = await toCryptoKeys(key);
  const { privateKey: signingKey } = await toCryptoKeys(authority.key);
  const notBefore = new Date(now.getTime() - clockSkewMs);
  // RFC 5280 includes both ends: the last second is part of the validity.
  const notAfter = new Date(notBefore.getTime() + serverDays * dayMs - 1000);
  return x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(),
    subject: 'CN=OpsConductor server',
    issuer: authority.certificate.subjectName,
    notBefore,
    notAfter,
    signingAlgorithm,
    publicKey,
    signingKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(names),
      await x509.AuthorityKeyIdentifierExtension.create(authority.certificate.publicKey),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
    ],
  });
}

/** Whether a certificate is for exactly these names. */
export async function isFor(pem: string, names: x509.JsonGeneralNames): Promise<boolean> {
  const { SubjectAlternativeNameExtension } = await loadLibrary();
  const found = (await readCertificate(pem)).getExtension(SubjectAlternativeNameExtension);
  const wanted = new SubjectAlternativeNameExtension(names);
  return found !== null && Buffer.from(found.value).equals(Buffer.from(wanted.value));
}

async function toCryptoKeys(key: KeyObject): Promise<webcrypto.CryptoKeyPair> {
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' });
  const privateKey = await webcrypto.subtle.importKey('pkcs8', pkcs8, keyAlgorithm, false, ['sign']);
  const jwk = key.export({ format: 'jwk' });
  const publicJwk = { kty: jwk.kty, crv: jwk.crv, x: jwk.x, y: jwk.y } as webcrypto.JsonWebKey;
  const publicKey = await webcrypto.subtle.importKey('jwk', publicJwk, keyAlgorithm, true, ['verify']);
  return { privateKey, publicKey };
}

/** 16 random bytes, positive and without a leading zero, as RFC 5280 (4.1.2.2) requires. */
function serialNumber(): string {
  const bytes = webcrypto.getRandomValues(new Uint8Array(16));
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return Buffer.from(bytes).toString('hex');
}
