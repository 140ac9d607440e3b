// A checkpoint of the audit log: a signed note with the size and root of its Merkle tree (C2SP signed-note and
// tlog-checkpoint), and three lines of ours: its number, the hash of the one before it, and when it was made.
import { createHash } from 'node:crypto';
import { sign, verify } from '../sealing/keys.ts';
import { type Hash, hashBytes } from './merkle.ts';

export interface Checkpoint {
  installationId: string;
  /** Rows that it covers: those at positions 0 to size − 1. */
  size: number;
  rootHash: Hash;
  /** Counted from 1. */
  number: number;
  /** SHA-256 over the text of the checkpoint before it; 32 zero bytes for the first. */
  previousHash: Hash;
  /** RFC 3339 with milliseconds, UTC. */
  sealedAt: string;
}

/** A checkpoint as it is kept and sent: `note` is the signed text, `hash` the SHA-256 over it without signature. */
export interface SignedCheckpoint extends Checkpoint {
  note: string;
  hash: Hash;
}

/** The note isn't a checkpoint, or not one that this key signed for this installation. */
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
 * Reads a checkpoint without verifying its signature.
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
 * Reads a checkpoint of this installation that this key has signed.
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

/** Key name of an installation's audit log, and first line of its checkpoints. */
export function originOf(installationId: string): string {
  return `${originPrefix}${installationId}`;
}

/** A text that ends in a line feed, as a signed note. No text of `encodeFields` begins like one: the key serves both. */
export async function signNote(
  key: { publicKey: Uint8Array; privateKey: Uint8Array },
  name: string,
  text: string,
): Promise<string> {
  const signature = await sign(key.privateKey, Buffer.from(text));
  const line = Buffer.concat([keyId(name, key.publicKey), signature]).toString('base64');
  return `${text}\n— ${name} ${line}\n`;
}

/** Whether one of the note's signatures is this key's, under this name. */
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
