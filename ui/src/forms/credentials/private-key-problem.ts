// What a pasted private key lacks, as far as its text shows without its passphrase. Nobody can read the key once it is
// sealed, so a wrong paste would only come to light in the first step that logs in.

const publicKey =
  /^(ssh-(rsa|dss|ed25519)|ecdsa-sha2-nistp\d+|sk-[a-z0-9@.-]+) AAAA|^-----BEGIN (RSA )?PUBLIC KEY-----|^---- BEGIN SSH2 PUBLIC KEY ----/;
/** What is missing is not in the text of the key: it belongs beside the passphrase. */
export const needsPassphrase = 'This key is encrypted: enter its passphrase, too';
const opensshMagic = 'openssh-key-v1\0';

/**
 * Returns what is wrong with the text of a key file, or `undefined` if nothing is, or nothing that can be seen.
 *
 * @param use `certificate` for the key of a client certificate
 */
export function privateKeyProblem(
  text: string,
  passphrase: string,
  use: 'ssh' | 'certificate',
): string | undefined {
  const key = text.trim();
  if (publicKey.test(key)) return 'This is a public key. Paste the private one: the file without .pub';
  if (key.startsWith('PuTTY-User-Key-File-'))
    return passphrase === '' && !/^Encryption: none\s*$/m.test(key) ? needsPassphrase : undefined;
  const found = /^-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----/m.exec(key);
  const kind = found?.[1];
  // Agents read these with text around them, such as the attributes and certificates that `openssl pkcs12` writes.
  const isAnywhere = use === 'certificate' || kind === 'PRIVATE KEY' || kind === 'ENCRYPTED PRIVATE KEY';
  if (found === null || kind === undefined || (found.index > 0 && !isAnywhere))
    return 'Paste the whole file: it begins with a line -----BEGIN … PRIVATE KEY-----';
  const end = `-----END ${kind}-----`;
  if (isAnywhere ? !key.includes(end, found.index) : !key.endsWith(end))
    return `The end is missing. Paste the whole file, to its line -----END ${kind}-----`;
  if (passphrase === '' && isEncrypted(kind, key)) return needsPassphrase;
  return undefined;
}

function isEncrypted(kind: string, key: string): boolean {
  if (kind === 'OPENSSH PRIVATE KEY') return opensshCipher(key) !== 'none';
  return kind === 'ENCRYPTED PRIVATE KEY' || /^Proc-Type: 4,ENCRYPTED/m.test(key);
}

/** Returns the name of the cipher in OpenSSH's format, `none` if the key can't be read. */
function opensshCipher(key: string): string {
  try {
    const bytes = atob(key.split('\n').slice(1, -1).join('').replaceAll(/\s/g, ''));
    if (!bytes.startsWith(opensshMagic)) return 'none';
    const at = opensshMagic.length + 4;
    return bytes.slice(at, at + bytes.charCodeAt(at - 1));
  } catch {
    return 'none';
  }
}
