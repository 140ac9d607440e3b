// Channel bindings of type tls-server-end-point (RFC 5929): an authentication that is relayed over another TLS
// connection is refused, because that one has another certificate.
import { createHash } from 'node:crypto';

/** Hashes by the object identifier of the certificate's signature. MD5 and SHA-1 count as SHA-256 (RFC 5929 4.1). */
const hashes: Readonly<Record<string, string>> = {
  '1.2.840.113549.1.1.12': 'sha384',
  '1.2.840.113549.1.1.13': 'sha512',
  '1.2.840.113549.1.1.14': 'sha224',
  '1.2.840.10045.4.3.1': 'sha224',
  '1.2.840.10045.4.3.3': 'sha384',
  '1.2.840.10045.4.3.4': 'sha512',
  // Used as the hash of RSASSA-PSS.
  '2.16.840.1.101.3.4.2.2': 'sha384',
  '2.16.840.1.101.3.4.2.3': 'sha512',
  '2.16.840.1.101.3.4.2.4': 'sha224',
};
const pss = '1.2.840.113549.1.1.10';

/** Returns the application data of the bindings, for a host's certificate in DER. */
export function channelBindingOf(certificate: Buffer): Buffer {
  const hash = hashes[hashIdentifier(certificate)] ?? 'sha256';
  const digest = createHash(hash).update(certificate).digest();
  return Buffer.concat([Buffer.from('tls-server-end-point:', 'latin1'), digest]);
}

/**
 * Node's X509Certificate does not say how it was signed, so this reads Certificate ::= { tbs, signatureAlgorithm,
 * signature }.
 */
function hashIdentifier(certificate: Buffer): string {
  const [, algorithm] = elementsOf(elementsOf(certificate)[0]?.content);
  const [identifier, parameters] = elementsOf(algorithm?.content);
  const name = objectIdentifier(identifier?.content);
  if (name !== pss) return name;
  // RSASSA-PSS-params ::= { [0] hashAlgorithm … }
  const [hash] = elementsOf(parameters?.content).filter(({ tag }) => tag === 0xa0);
  const [hashAlgorithm] = elementsOf(hash?.content);
  return objectIdentifier(elementsOf(hashAlgorithm?.content)[0]?.content);
}

interface Element {
  tag: number;
  content: Buffer;
}

/** Returns the DER elements in sequence; none if the bytes are not DER. */
function elementsOf(bytes: Buffer | undefined): Element[] {
  const elements: Element[] = [];
  for (let at = 0; bytes !== undefined && at + 2 <= bytes.length; ) {
    const tag = bytes[at] as number;
    const first = bytes[at + 1] as number;
    const more = first < 0x80 ? 0 : first & 0x7f;
    if (more > 4 || at + 2 + more > bytes.length) break;
    const length = more === 0 ? first : bytes.readUIntBE(at + 2, more);
    const start = at + 2 + more;
    elements.push({ tag, content: bytes.subarray(start, start + length) });
    at = start + length;
  }
  return elements;
}

function objectIdentifier(content: Buffer | undefined): string {
  if (content === undefined || content.length === 0) return '';
  const numbers: number[] = [];
  let number = 0;
  for (const byte of content) {
    number = number * 128 + (byte & 0x7f);
    if (byte & 0x80) continue;
    numbers.push(number);
    number = 0;
  }
  const [first = 0, ...rest] = numbers;
  const root = Math.min(Math.floor(first / 40), 2);
  return [root, first - root * 40, ...rest].join('.');
}
