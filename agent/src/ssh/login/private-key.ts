// Reads the private key of a credential, with a distinct error for each way it can be unusable.
import { createPrivateKey, type KeyObject } from 'node:crypto';
import ssh2, { type ParsedKey } from 'ssh2';
import { WireError, WireReader, wireString } from '../host-keys/wire-reader.ts';
import { SshError } from '../ssh-error.ts';

/** Parses OpenSSH, PEM (PKCS#1, SEC 1, PKCS#8) or PuTTY text. Throws `credential_unusable`. */
export function parsePrivateKey(text: string, passphrase: string | undefined): ParsedKey {
  const pkcs8 = /-----BEGIN (ENCRYPTED )?PRIVATE KEY-----/.exec(text);
  if (pkcs8) return parseOpenSsh(fromPkcs8(text, passphrase, pkcs8[1] !== undefined), undefined);
  return parseOpenSsh(text, passphrase);
}

/**
 * Most rounds of OpenSSH's key derivation: about three seconds, in which this process does nothing else. `ssh-keygen`
 * takes 16 or 24 unless it is told otherwise (`-a`).
 */
const maxRounds = 200;

function parseOpenSsh(text: string, passphrase: string | undefined): ParsedKey {
  const rounds = passphrase === undefined ? 0 : roundsOf(text);
  if (rounds > maxRounds) throw tooManyRounds(rounds);
  const parsed = ssh2.utils.parseKey(text, passphrase);
  // For an OpenSSH file ssh2 returns an array of its keys.
  const key = Array.isArray(parsed) ? parsed[0] : parsed;
  if (key instanceof Error) {
    if (/no passphrase given/i.test(key.message)) throw missingPassphrase();
    // A wrong passphrase decrypts to noise, which fails the integrity check or the parser.
    const encrypted = passphrase !== undefined && isEncrypted(text);
    throw encrypted ? wrongPassphrase() : new UnreadableKey(key.message);
  }
  if (!key) throw new UnreadableKey('it holds no key');
  if (!key.isPrivateKey()) throw new UnreadableKey('it is a public key');
  return key;
}

/** Returns the rounds of key derivation of an OpenSSH file (OpenSSH's PROTOCOL.key), or 0 if there are none. */
function roundsOf(text: string): number {
  const body = /-----BEGIN OPENSSH PRIVATE KEY-----([A-Za-z0-9+/=\s]+)-----END/.exec(text)?.[1];
  const bytes = Buffer.from(body ?? '', 'base64');
  const magic = 'openssh-key-v1\0';
  if (bytes.subarray(0, magic.length).toString('latin1') !== magic) return 0;
  try {
    const file = new WireReader(bytes.subarray(magic.length));
    file.string();
    if (file.text() !== 'bcrypt') return 0;
    const options = new WireReader(file.string());
    options.string();
    return options.uint32();
  } catch (error) {
    // ssh2 says what is wrong with it.
    if (error instanceof WireError) return 0;
    throw error;
  }
}

function isEncrypted(text: string): boolean {
  const parsed = ssh2.utils.parseKey(text);
  return parsed instanceof Error && /no passphrase given/i.test(parsed.message);
}

/** ssh2 doesn't read PKCS#8, so the key is written in a form it does read. */
function fromPkcs8(text: string, passphrase: string | undefined, encrypted: boolean): string {
  if (encrypted && passphrase === undefined) throw missingPassphrase();
  let key: KeyObject;
  try {
    key = createPrivateKey({ key: text, format: 'pem', ...(passphrase === undefined ? {} : { passphrase }) });
  } catch {
    throw encrypted ? wrongPassphrase() : new UnreadableKey('its PKCS#8 text is damaged');
  }
  switch (key.asymmetricKeyType) {
    case 'rsa':
      return key.export({ type: 'pkcs1', format: 'pem' }).toString();
    case 'ec':
      return key.export({ type: 'sec1', format: 'pem' }).toString();
    case 'ed25519':
      return openSshEd25519(key);
    default:
      throw new UnreadableKey(`keys of type ${key.asymmetricKeyType} can't be used with SSH`);
  }
}

/** Writes an Ed25519 key in the unencrypted `openssh-key-v1` form (OpenSSH's PROTOCOL.key). */
function openSshEd25519(key: KeyObject): string {
  const jwk = key.export({ format: 'jwk' });
  const seed = Buffer.from(jwk.d ?? '', 'base64url');
  const point = Buffer.from(jwk.x ?? '', 'base64url');
  const name = wireString('ssh-ed25519');
  const secret = Buffer.concat([
    Buffer.alloc(8),
    name,
    wireString(point),
    wireString(Buffer.concat([seed, point])),
    wireString(''),
  ]);
  const padding = Buffer.from([1, 2, 3, 4, 5, 6, 7]).subarray(0, (8 - (secret.length % 8)) % 8);
  const body = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    wireString('none'),
    wireString('none'),
    wireString(''),
    Buffer.from([0, 0, 0, 1]),
    wireString(Buffer.concat([name, wireString(point)])),
    wireString(Buffer.concat([secret, padding])),
  ]);
  const lines = body.toString('base64').match(/.{1,70}/g) ?? [];
  return ['-----BEGIN OPENSSH PRIVATE KEY-----', ...lines, '-----END OPENSSH PRIVATE KEY-----', ''].join(
    '\n',
  );
}

function missingPassphrase(): SshError {
  return new SshError({
    reason: 'credential_unusable',
    message: "The credential's private key is encrypted and the credential holds no passphrase.",
    advice: 'Store the credential again with the passphrase of its key.',
  });
}

function tooManyRounds(rounds: number): SshError {
  return new SshError({
    reason: 'credential_unusable',
    message: `The credential's private key takes ${rounds} rounds to open, more than the ${maxRounds} that an agent takes the time for.`,
    advice: `Protect the key again with fewer rounds (\`ssh-keygen -p -a 24 -f FILE\`), and store the credential again.`,
  });
}

function wrongPassphrase(): SshError {
  return new SshError({
    reason: 'credential_unusable',
    message: "The passphrase of the credential does not open the credential's private key.",
    advice: 'Store the credential again with the right passphrase.',
  });
}

const wholeFile = 'from its BEGIN line to its END line, in OpenSSH or PEM format';

/** The text is not a private key, whatever the passphrase. */
export class UnreadableKey extends SshError {
  readonly why: string;
  /** What should be there instead. */
  readonly wanted = `the whole key file, ${wholeFile}`;

  constructor(why: string) {
    super({
      reason: 'credential_unusable',
      message: `The credential's private key can't be read: ${why}.`,
      advice: `Store the whole key file, ${wholeFile}.`,
    });
    this.why = why;
  }
}
