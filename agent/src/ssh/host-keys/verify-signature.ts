// Verifies signatures in SSH's wire format, as certificate authorities put them on host certificates.
import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { WireError, WireReader } from './wire-reader.ts';

const curves: Record<string, { crv: string; bytes: number; hash: string }> = {
  nistp256: { crv: 'P-256', bytes: 32, hash: 'sha256' },
  nistp384: { crv: 'P-384', bytes: 48, hash: 'sha384' },
  nistp521: { crv: 'P-521', bytes: 66, hash: 'sha512' },
};
// SHA-1 (`ssh-rsa`) is left out on purpose.
const rsaHashes: Record<string, string> = { 'rsa-sha2-256': 'sha256', 'rsa-sha2-512': 'sha512' };
const minRsaBits = 2048;

/**
 * Returns whether a signature in wire format was made by the key.
 *
 * @throws WireError if the bytes are not a key and a signature, or are of a kind that is unknown or too weak
 */
export function verifySignature(keyBlob: Buffer, signature: Buffer, data: Buffer): boolean {
  const reader = new WireReader(signature);
  const algorithm = reader.text();
  const value = reader.string();
  reader.end();
  const key = new WireReader(keyBlob);
  const type = key.text();
  if (type === 'ssh-ed25519' && algorithm === type) {
    const publicKey = fromJwk({ kty: 'OKP', crv: 'Ed25519', x: key.string().toString('base64url') });
    key.end();
    return verify(null, data, publicKey, value);
  }
  if (type === 'ssh-rsa') {
    const hash = rsaHashes[algorithm];
    if (hash === undefined)
      throw new WireError(`it is signed with ${printable(algorithm)}, which is too weak`);
    const e = unsigned(key.string());
    const n = unsigned(key.string());
    key.end();
    if (n.length * 8 < minRsaBits) throw new WireError('it is signed with an RSA key that is too short');
    const publicKey = fromJwk({ kty: 'RSA', n: n.toString('base64url'), e: e.toString('base64url') });
    return verify(hash, data, publicKey, value);
  }
  const curve = type.startsWith('ecdsa-sha2-') ? curves[key.text()] : undefined;
  if (curve !== undefined && algorithm === type) return verifyEcdsa(key, curve, value, data);
  throw new WireError(`it is signed with ${printable(algorithm)} by a key of type ${printable(type)}`);
}

function verifyEcdsa(
  key: WireReader,
  { crv, bytes, hash }: { crv: string; bytes: number; hash: string },
  value: Buffer,
  data: Buffer,
): boolean {
  const point = key.string();
  key.end();
  if (point.length !== 1 + 2 * bytes || point[0] !== 4) throw new WireError('its key does not fit its curve');
  const x = point.subarray(1, 1 + bytes).toString('base64url');
  const y = point.subarray(1 + bytes).toString('base64url');
  const numbers = new WireReader(value);
  const r = padded(unsigned(numbers.string()), bytes);
  const s = padded(unsigned(numbers.string()), bytes);
  numbers.end();
  const publicKey = fromJwk({ kty: 'EC', crv, x, y });
  return verify(hash, data, { key: publicKey, dsaEncoding: 'ieee-p1363' }, Buffer.concat([r, s]));
}

function fromJwk(key: Record<string, string>): KeyObject {
  try {
    return createPublicKey({ key, format: 'jwk' });
  } catch {
    throw new WireError('its signing key is invalid');
  }
}

/** Removes the leading zero bytes, one of which keeps a number from being read as negative. */
function unsigned(number: Buffer): Buffer {
  let zeros = 0;
  while (zeros < number.length - 1 && number[zeros] === 0) zeros += 1;
  return number.subarray(zeros);
}

function padded(number: Buffer, length: number): Buffer {
  if (number.length > length) throw new WireError('its signature is too long');
  return Buffer.concat([Buffer.alloc(length - number.length), number]);
}

/** Names from the wire go into messages for people, so everything but printable ASCII is replaced. */
function printable(name: string): string {
  return name.replace(/[^\x20-\x7e]/g, '?').slice(0, 64);
}
