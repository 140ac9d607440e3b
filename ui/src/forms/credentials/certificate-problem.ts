// Whether a pasted SSH certificate is one for the pasted key. Agents find out only when they log in, and targets then
// refuse the key without a reason.

import { fullMoment } from '../../format/moment.ts';

const opensshMagic = 'openssh-key-v1\0';

/** Returns what is wrong with it, or `undefined` if nothing is, or nothing that can be seen without the passphrase. */
export function certificateProblem(
  certificate: string,
  privateKey: string,
  now = Date.now(),
): string | undefined {
  const line = certificate.trim();
  if (/^(?:ssh-|ecdsa-|sk-)\S+ AAAA/.test(line) && !/^\S+-cert-v01@openssh\.com /.test(line))
    return 'This is a public key without a certificate. Paste the line of the file that ends in -cert.pub';
  const read = readCertificate(line);
  if (read === undefined) return undefined;
  const own = ownKey(privateKey);
  if (own !== undefined && read.certified !== own)
    return 'This certificate is for another key than the private key above';
  if (read.use === 'host')
    return 'This certificate is for hosts, not for users. Have the key signed for users';
  if (read.validBefore !== undefined && read.validBefore * 1_000 <= now)
    return `This certificate expired at ${fullMoment(read.validBefore * 1_000)}. Have the key signed again`;
  return undefined;
}

/** What is read of a certificate, in seconds since 1970. What is not understood is left out: an agent may still read it. */
interface Certificate {
  certified: string;
  use?: 'user' | 'host';
  validBefore?: number;
}

/** The fields of the public key in a certificate begin after its type and nonce, and other fields follow. */
function readCertificate(line: string): Certificate | undefined {
  const blob = decoded(/^\S+-cert-v01@openssh\.com (\S+)/.exec(line)?.[1] ?? '');
  const type = readString(blob, 0);
  const nonce = type && readString(blob, type.end);
  if (type === undefined || nonce === undefined) return undefined;
  const key = fieldsOf(type.text.replace('-cert-v01@openssh.com', ''), blob, nonce.end);
  if (key === undefined) return undefined;
  // After the key: serial number, use, key id, principals, the beginning and the end of its validity.
  const serialBytes = 8;
  const timeBytes = 8;
  const use = ({ 1: 'user', 2: 'host' } as const)[readNumber(blob, key.end + serialBytes, 4) ?? 0];
  const keyId = readString(blob, key.end + serialBytes + 4);
  const principals = keyId && readString(blob, keyId.end);
  const validBefore = principals && readNumber(blob, principals.end + timeBytes, timeBytes);
  if (use === undefined || validBefore === undefined) return { certified: key.text };
  return { certified: key.text, use, validBefore };
}

/** Without a loss up to 2 ** 53. Beyond it lies what stands for “forever”. */
function readNumber(bytes: string, at: number, size: number): number | undefined {
  if (at + size > bytes.length) return undefined;
  return [...bytes.slice(at, at + size)].reduce((sum, one) => sum * 256 + one.charCodeAt(0), 0);
}

/** OpenSSH's format has the public key before the encrypted part. */
function ownKey(privateKey: string): string | undefined {
  const text = /-----BEGIN OPENSSH PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END/.exec(privateKey)?.[1];
  const bytes = decoded((text ?? '').replaceAll(/\s/g, ''));
  if (!bytes.startsWith(opensshMagic)) return undefined;
  let at = opensshMagic.length;
  for (const _ of ['cipher', 'kdf', 'kdf options']) {
    const one = readString(bytes, at);
    if (one === undefined) return undefined;
    at = one.end;
  }
  const blob = readString(bytes, at + 4)?.text ?? '';
  const type = readString(blob, 0);
  return type === undefined ? undefined : fieldsOf(type.text, blob, type.end)?.text;
}

/** How many fields a public key has beside its type. */
const fieldCounts: Record<string, number> = {
  'ssh-ed25519': 1,
  'ssh-rsa': 2,
  'ecdsa-sha2-nistp256': 2,
  'ecdsa-sha2-nistp384': 2,
  'ecdsa-sha2-nistp521': 2,
};

function fieldsOf(type: string, blob: string, begin: number): { text: string; end: number } | undefined {
  const count = fieldCounts[type];
  if (count === undefined) return undefined;
  let at = begin;
  for (let read = 0; read < count; read += 1) {
    const field = readString(blob, at);
    if (field === undefined) return undefined;
    at = field.end;
  }
  return { text: `${type} ${blob.slice(begin, at)}`, end: at };
}

function readString(bytes: string, at: number): { text: string; end: number } | undefined {
  if (at + 4 > bytes.length) return undefined;
  const size = [0, 1, 2, 3].reduce((sum, byte) => sum * 256 + bytes.charCodeAt(at + byte), 0);
  const end = at + 4 + size;
  return end > bytes.length ? undefined : { text: bytes.slice(at + 4, end), end };
}

function decoded(base64: string): string {
  try {
    return atob(base64);
  } catch {
    return '';
  }
}
