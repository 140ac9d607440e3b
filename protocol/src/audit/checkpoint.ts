// A checkpoint of the audit log: a signed note with the size and root of its Merkle tree (C2SP signed-note and
// tlog-checkpoint), plus three lines of ours: its number, the previous checkpoint's hash, and the time it was made.
import { createHash } from 'node:crypto';
import { sign, verify } from '../sealing/keys.ts';
import { type Hash, hashBytes } from './merkle.ts';

export interface Checkpoint {
  installationId: string;
  /** Number of rows covered: those at positions 0 to size − 1. */
  size: number;
  rootHash: Hash;
  /** Counted from 1. */
  number: number;
  /** SHA-256 over the text of the previous checkpoint; 32 zero bytes for the first. */
  previousHash: Hash;
  /** RFC 3339 with milliseconds, UTC. */
  sealedAt: string;
}

/**
 * A checkpoint for storage and transport: `note` is the signed text, `hash` the SHA-256 of it without the signature.
 */
export interface SignedCheckpoint extends Checkpoint {
  note: string;
  hash: Hash;
}

/** The note is not a checkpoint, or not one signed with this key for this installation. */
export class CheckpointError extends Error {
  readonly reason: 'malformed' | 'wrong_signature';

  constructor(reason: CheckpointError['reason'], message: string) {
    super(message);
    this.name = 'CheckpointError';
    this.reason = reason;
  }
}

export const maxNoteLength = 2_000;
const originPrefix = 'opsconductor.audit/';
const ed25519 = 1;
const pattern = new RegExp(
  [
    `^${originPrefix.replace('.', '\\.')}([0-9a-f-]{36})`,
    '(0|[1-9][0-9]{0,15})',
    '([A-Za-z0-9+/]{43}=)',
    'number ([1-9][0-9]{0,15})',
    'previous ([A-Za-z0-9+/]{43}=)',
    'time ([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z)',
    '$',
  ].join('\n'),
);

/** Signs a checkpoint with the installation's Ed25519 key (32-byte seed). */
export async function signCheckpoint(
  key: { publicKey: Uint8Array; privateKey: Uint8Array },
  checkpoint: Checkpoint,
): Promise<SignedCheckpoint> {
  const text = [
    originOf(checkpoint.installationId),
    checkpoint.size,
    checkpoint.rootHash.toString('base64'),
    `number ${checkpoint.number}`,
    `previous ${checkpoint.previousHash.toString('base64')}`,
    `time ${checkpoint.sealedAt}`,
    '',
  ].join('\n');
  return readCheckpoint(await signNote(key, originOf(checkpoint.installationId), text));
}

/**
 * Parses a checkpoint without verifying its signature.
 *
 * @throws {CheckpointError} `malformed`
 */
export function readCheckpoint(note: string): SignedCheckpoint {
  const { text } = splitNote(note);
  const [, installationId = '', size, root, number, previous, sealedAt = ''] = pattern.exec(text) ?? [];
  const checkpoint = {
    installationId,
    size: Number(size),
    rootHash: hashOf(root),
    number: Number(number),
    previousHash: hashOf(previous),
    sealedAt,
    note,
    hash: createHash('sha256').update(text).digest(),
  };
  if (installationId === '') throw new CheckpointError('malformed', 'this is not a checkpoint');
  return checkpoint;
}

/**
 * Parses a checkpoint of this installation and verifies this key's signature.
 *
 * @throws {CheckpointError}
 */
export async function verifyCheckpoint(
  publicKey: Uint8Array,
  installationId: string,
  note: string,
): Promise<SignedCheckpoint> {
  const checkpoint = readCheckpoint(note);
  if (checkpoint.installationId !== installationId)
    throw new CheckpointError(
      'wrong_signature',
      `this checkpoint is of installation ${checkpoint.installationId}`,
    );
  if (!(await isSignedNote(publicKey, originOf(installationId), note)))
    throw new CheckpointError(
      'wrong_signature',
      'this checkpoint is not signed by the key of the installation',
    );
  return checkpoint;
}

/** Returns the key name of an installation's audit log, which is also the first line of its checkpoints. */
export function originOf(installationId: string): string {
  return `${originPrefix}${installationId}`;
}

/**
 * Signs a text that ends with a line feed as a signed note. The key is also used for statements of `encodeFields`,
 * which never begin like such a text.
 */
export async function signNote(
  key: { publicKey: Uint8Array; privateKey: Uint8Array },
  name: string,
  text: string,
): Promise<string> {
  const signature = await sign(key.privateKey, Buffer.from(text));
  const line = Buffer.concat([keyId(name, key.publicKey), signature]).toString('base64');
  return `${text}\n— ${name} ${line}\n`;
}

/** Whether one of the note's signatures was made by this key under this name. */
export async function isSignedNote(publicKey: Uint8Array, name: string, note: string): Promise<boolean> {
  const { text, signatures } = splitNote(note);
  const id = keyId(name, publicKey);
  for (const line of signatures) {
    const [dash, signer, encoded] = line.split(' ');
    const bytes = Buffer.from(encoded ?? '', 'base64');
    if (dash !== '—' || signer !== name || !bytes.subarray(0, 4).equals(id)) continue;
    return verify(publicKey, Buffer.from(text), bytes.subarray(4));
  }
  return false;
}

function splitNote(note: string): { text: string; signatures: string[] } {
  const at = note.lastIndexOf('\n\n');
  if (at === -1 || note.length > maxNoteLength || !note.endsWith('\n'))
    throw new CheckpointError('malformed', 'this is not a signed note');
  return { text: note.slice(0, at + 1), signatures: note.slice(at + 2, -1).split('\n') };
}

function keyId(name: string, publicKey: Uint8Array): Buffer {
  return createHash('sha256')
    .update(`${name}\n`)
    .update(Buffer.of(ed25519))
    .update(publicKey)
    .digest()
    .subarray(0, 4);
}

function hashOf(base64: string | undefined): Hash {
  const hash = Buffer.from(base64 ?? '', 'base64');
  return hash.length === hashBytes ? hash : Buffer.alloc(hashBytes);
}
