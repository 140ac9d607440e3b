// A private key that its owner keeps, encrypted with a passphrase, in a file that only the owner can read. It is opened
// in the process that signs or opens something with it, and is sent to nobody.
import { type ScryptOptions, scrypt } from 'node:crypto';
import { open, stat, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import {
  decodeBase64,
  encodeBase64,
  encodeFields,
  encryptionPublicKeyOf,
  equalBytes,
  fingerprint,
  generateEncryptionKeyPair,
  generateSigningKeyPair,
  type KeyPair,
  signingPublicKeyOf,
} from '@opsconductor/protocol/sealing';
import { type Static, Type } from 'typebox';
import { Check } from 'typebox/value';
import { AgentError } from '../../agent-error.ts';
import { readGivenText } from '../../command-line/read-given-text.ts';
import { typedCommand } from '../../command-line/typed-command.ts';
import { errorCode, syncFolder } from '../../identity/durable-file.ts';
import { parseJson } from '../../identity/identity.ts';

/** What a key may be used for. The file says so, and no command accepts a key with another purpose. */
export const keyPurposes = ['root', 'signer', 'recovery'] as const;
export type KeyPurpose = (typeof keyPurposes)[number];

const purposes: Record<
  KeyPurpose,
  { make(): Promise<KeyPair>; publicOf(key: Uint8Array): Promise<Uint8Array> }
> = {
  root: { make: generateSigningKeyPair, publicOf: signingPublicKeyOf },
  signer: { make: generateSigningKeyPair, publicOf: signingPublicKeyOf },
  recovery: { make: generateEncryptionKeyPair, publicOf: encryptionPublicKeyOf },
};

/** Cost of scrypt (RFC 7914): each guess of a passphrase takes 128 MiB and some tenths of a second. */
const cost = { N: 2 ** 17, r: 8, p: 1 };
/** A file names its own cost; one that asks for more than this was not made by this program. */
const maxCost = { N: 2 ** 20, r: 8, p: 4 };
const saltBytes = 16;
const nonceBytes = 12;
const derivedBytes = 32;
const minPassphraseLength = 12;

const KeyFileSchema = Type.Object(
  {
    v: Type.Literal(1),
    purpose: Type.Enum(keyPurposes),
    /** Raw key, base64. */
    publicKey: Type.String({ pattern: '^[A-Za-z0-9+/]{43}=$' }),
    fingerprint: Type.String(),
    scrypt: Type.Object({
      N: Type.Integer({ minimum: 2, maximum: maxCost.N }),
      r: Type.Integer({ minimum: 1, maximum: maxCost.r }),
      p: Type.Integer({ minimum: 1, maximum: maxCost.p }),
      salt: Type.String({ pattern: '^[A-Za-z0-9+/]{22}==$' }),
    }),
    nonce: Type.String({ maxLength: 64 }),
    ciphertext: Type.String({ maxLength: 128 }),
  },
  { additionalProperties: false },
);
export type KeyFile = Static<typeof KeyFileSchema>;

/** The type that WebCrypto accepts. */
type DerivedKey = Awaited<ReturnType<typeof crypto.subtle.importKey>>;

export interface OwnerKey {
  purpose: KeyPurpose;
  publicKey: Uint8Array<ArrayBuffer>;
  privateKey: Uint8Array<ArrayBuffer>;
}

/**
 * Makes a key and writes it to a new file, which is on disk when this resolves.
 *
 * @throws {AgentError} also if the file already exists.
 */
export async function makeKeyFile(
  path: string,
  purpose: KeyPurpose,
  passphrase: string,
  { N, r, p } = cost,
): Promise<KeyFile> {
  refuseWeakPassphrase(passphrase);
  const { publicKey, privateKey } = await purposes[purpose].make();
  const salt = crypto.getRandomValues(new Uint8Array(saltBytes));
  const nonce = crypto.getRandomValues(new Uint8Array(nonceBytes));
  const head = { v: 1 as const, purpose, publicKey: encodeBase64(publicKey) };
  const key = await derive(passphrase, salt, { N, r, p });
  const ciphertext = await crypto.subtle.encrypt(
    { name: 'AES-GCM', iv: nonce, additionalData: statement(head) },
    key,
    privateKey,
  );
  privateKey.fill(0);
  const file: KeyFile = {
    ...head,
    fingerprint: await fingerprint(publicKey),
    scrypt: { N, r, p, salt: encodeBase64(salt) },
    nonce: encodeBase64(nonce),
    ciphertext: encodeBase64(new Uint8Array(ciphertext)),
  };
  await writeNewFile(path, `${JSON.stringify(file, null, 2)}\n`);
  return file;
}

/**
 * Reads what a key file says without its passphrase; the fingerprint is computed from its public key.
 *
 * @throws {AgentError}
 */
export async function readKeyFile(path: string): Promise<KeyFile> {
  const text = await readGivenText(path).catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    const fix = `Check the path, or make a key with: ${typedCommand()} key make.`;
    throw new AgentError(`The key file can't be read: ${why}.`, fix, { cause });
  });
  const file = parseJson(text);
  if (!Check(KeyFileSchema, file)) {
    throw new AgentError(
      `${path} is not a key file of this program.`,
      'Name one that "key make" has written.',
    );
  }
  return { ...file, fingerprint: await fingerprint(decodeBase64(file.publicKey, 32, 'publicKey')) };
}

/**
 * Returns the public half of a key file, which needs no passphrase.
 *
 * @throws {AgentError} also for a key with another purpose.
 */
export async function publicKeyOf(path: string, purpose: KeyPurpose): Promise<Uint8Array> {
  const file = await readKeyFile(path);
  refuseOtherPurpose(path, file, purpose);
  return decodeBase64(file.publicKey, 32, 'publicKey');
}

/**
 * Opens a key file with its passphrase.
 *
 * @throws {AgentError} for another purpose, a wrong passphrase, an altered file, or a file that others can read.
 */
export async function openKeyFile(
  path: string,
  purpose: KeyPurpose,
  passphrase: () => Promise<string>,
): Promise<OwnerKey> {
  const file = await readKeyFile(path);
  refuseOtherPurpose(path, file, purpose);
  await refuseOpenFile(path);
  const privateKey = await decrypt(path, await passphrase(), file);
  const publicKey = decodeBase64(file.publicKey, 32, 'publicKey');
  if (!equalBytes(await purposes[purpose].publicOf(privateKey), publicKey)) throw notOpened(path);
  return { purpose, publicKey, privateKey };
}

function refuseOtherPurpose(path: string, file: KeyFile, purpose: KeyPurpose): void {
  if (file.purpose === purpose) return;
  throw new AgentError(
    `${path} is a ${file.purpose} key; a ${purpose} key is needed here.`,
    `Name the file of the ${purpose} key, or make one with: ${typedCommand()} key make --purpose ${purpose}.`,
  );
}

async function decrypt(path: string, passphrase: string, file: KeyFile): Promise<Uint8Array<ArrayBuffer>> {
  const { salt, ...options } = file.scrypt;
  try {
    const key = await derive(passphrase, decodeBase64(salt, saltBytes, 'salt'), options);
    const algorithm = {
      name: 'AES-GCM',
      iv: decodeBase64(file.nonce, nonceBytes, 'nonce'),
      additionalData: statement(file),
    };
    const sealed = decodeBase64(file.ciphertext, undefined, 'ciphertext');
    return new Uint8Array(await crypto.subtle.decrypt(algorithm, key, sealed));
  } catch (cause) {
    throw notOpened(path, cause);
  }
}

function notOpened(path: string, cause?: unknown): AgentError {
  return new AgentError(
    `${path} does not open: the passphrase is wrong, or the file was altered.`,
    'Try again; there is no other way to open it. A copy of the file opens with the passphrase that it was made with.',
    { cause },
  );
}

function refuseWeakPassphrase(passphrase: string): void {
  if (passphrase.length >= minPassphraseLength) return;
  throw new AgentError(
    `The passphrase has ${passphrase.length} characters; at least ${minPassphraseLength} are required.`,
    'Choose several random words. Without the passphrase the key is lost.',
  );
}

async function refuseOpenFile(path: string): Promise<void> {
  if (process.platform === 'win32' || ((await stat(path)).mode & 0o077) === 0) return;
  throw new AgentError(
    `Users other than its owner can read or write ${path}.`,
    `Restrict it: chmod 600 ${path}`,
  );
}

/** Not through a second name and a link, because keys are kept on FAT too, which has no hard links. */
async function writeNewFile(path: string, text: string): Promise<void> {
  try {
    const file = await open(path, 'wx', 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
      await syncFolder(dirname(path));
    } catch (error) {
      // A part of a key would be in the way of the next try, and might be taken for a key.
      await unlink(path).catch(() => undefined);
      throw error;
    } finally {
      await file.close();
    }
  } catch (cause) {
    if (errorCode(cause) === 'EEXIST') {
      throw new AgentError(`${path} already exists.`, 'Name a new file: a key is never overwritten.');
    }
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new AgentError(`The key file can't be written: ${why}.`, 'Name a path that you may write.', {
      cause,
    });
  }
}

async function derive(passphrase: string, salt: Uint8Array, options: ScryptOptions): Promise<DerivedKey> {
  const { N = 0, r = 0 } = options;
  const maxmem = 128 * N * r + 32 * 1024 * 1024;
  const bytes = await new Promise<Buffer>((resolve, reject) => {
    scrypt(passphrase.normalize('NFC'), salt, derivedBytes, { ...options, maxmem }, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
  return crypto.subtle.importKey('raw', new Uint8Array(bytes), 'AES-GCM', false, ['encrypt', 'decrypt']);
}

/** What the passphrase authenticates besides the key itself, so that a file's purpose can't be changed. */
function statement({ purpose, publicKey }: Pick<KeyFile, 'purpose' | 'publicKey'>): Uint8Array<ArrayBuffer> {
  return encodeFields('owner-key-file', [purpose, publicKey]);
}
