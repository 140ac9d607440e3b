import { createHash, X509Certificate } from 'node:crypto';

/**
 * Returns `sha256:` and the lowercase hexadecimal SHA-256 of the certificate's DER SubjectPublicKeyInfo (as in RFC
 * 7469, section 2.4). The pin identifies the key, so it stays valid when a certificate is reissued for the same key.
 */
export function pinOfCertificate(certificate: string | Uint8Array): string {
  const key = new X509Certificate(certificate).publicKey.export({ type: 'spki', format: 'der' });
  return `sha256:${createHash('sha256').update(key).digest('hex')}`;
}
