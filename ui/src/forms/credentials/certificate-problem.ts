// Whether a pasted SSH certificate is one for the pasted key. Agents find out only when they log in, and targets then
// refuse the key without a reason.

const opensshMagic = 'openssh-key-v1\0';

/** Returns what is wrong with it, or `undefined` if nothing is, or nothing that can be seen without the passphrase. */
export function certificateProblem(certificate: string, privateKey: string): string | undefined {
  const line = certificate.trim();
  if (/^(?:ssh-|ecdsa-|sk-)\S+ AAAA/.test(line) && !/^\S+-cert-v01@openssh\.com /.test(line))
    return 'This is a public key without a certificate. Paste the line of the file that ends in -cert.pub';
  const certified = certifiedKey(line);
  const own = ownKey(privateKey);
  if (certified === undefined || own === undefined || certified === own) return undefined;
  return 'This certificate is for another key than the private key above';
}

/** The fields of the public key in a certificate begin after its type and nonce, and other fields follow. */
function certifiedKey(line: string): string | undefined {
  const blob = decoded(/^\S+-cert-v01@openssh\.com (\S+)/.exec(line)?.[1] ?? '');
  const type = readString(blob, 0);
  const nonce = type && readString(blob, type.end);
  if (type === undefined || nonce === undefined) return undefined;
  return fieldsOf(type.text.replace('-cert-v01@openssh.com', ''), blob, nonce.end);
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
  return type === undefined ? undefined : fieldsOf(type.text, blob, type.end);
}

/** How many fields a public key has beside its type. */
const fieldCounts: Record<string, number> = {
  'ssh-ed25519': 1,
  'ssh-rsa': 2,
  'ecdsa-sha2-nistp256': 2,
  'ecdsa-sha2-nistp384': 2,
  'ecdsa-sha2-nistp521': 2,
};

function fieldsOf(type: string, blob: string, begin: number): string | undefined {
  const count = fieldCounts[type];
  if (count === undefined) return undefined;
  let at = begin;
  for (let read = 0; read < count; read += 1) {
    const field = readString(blob, at);
    if (field === undefined) return undefined;
    at = field.end;
  }
  return `${type} ${blob.slice(begin, at)}`;
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
