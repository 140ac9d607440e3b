// Who this agent is and whom it trusts: fixed at enrollment.
import {
  agentFingerprint,
  decodeBase64,
  encodeBase64,
  encryptionPublicKeyOf,
  equalBytes,
  type KeyPair,
  signingPublicKeyOf,
} from '@opsconductor/protocol/sealing';
import { type Static, Type } from 'typebox';
import { Check } from 'typebox/value';
import { AgentError } from '../agent-error.ts';
import { agentCommand } from '../command-line/typed-command.ts';
import type { DataDirectory } from './data-directory.ts';
import { createDurably, readIfExists, writeDurably } from './durable-file.ts';
import { readNextKeys } from './next-keys.ts';

const IdentitySchema = Type.Object({
  server: Type.String(),
  agentId: Type.Integer({ minimum: 1 }),
  agentName: Type.String(),
  segmentId: Type.Integer({ minimum: 1 }),
  segmentName: Type.String(),
  installationId: Type.String(),
  /** The server's Ed25519 key, base64. */
  serverKey: Type.String(),
  /** The segment root's Ed25519 key, base64. */
  segmentRoot: Type.String(),
  enrolledAt: Type.String(),
});
export type IdentityFile = Static<typeof IdentitySchema>;

export interface Identity extends Omit<IdentityFile, 'serverKey' | 'segmentRoot'> {
  serverKey: Uint8Array;
  segmentRoot: Uint8Array;
  signingPrivateKey: Uint8Array;
  signingPublicKey: Uint8Array;
  encryptionPrivateKey: Uint8Array;
  /** PEM of the one CA that must have issued the server's certificate; undefined trusts the system's CAs. */
  ca: string | undefined;
}

export async function saveIdentity(data: DataDirectory, identity: IdentityFile): Promise<void> {
  await writeDurably(data.identity, `${JSON.stringify(identity, null, 2)}\n`);
}

export async function saveKey(path: string, key: Uint8Array): Promise<void> {
  await writeDurably(path, textOf(key));
}

/** Saves a key unless there already is one. */
export async function createKey(path: string, key: Uint8Array): Promise<void> {
  await createDurably(path, textOf(key));
}

const textOf = (key: Uint8Array) => `${encodeBase64(key)}\n`;

/** Reads a raw 32-byte private key from its file; undefined if there is none. */
export async function readKey(path: string): Promise<Uint8Array | undefined> {
  const content = await readIfExists(path);
  return content && decodeBase64(content.toString('utf8').trim(), 32, path);
}

/**
 * Returns who this agent is, without its keys; undefined if this machine is not enrolled.
 * @throws {AgentError} if the file is damaged
 */
export async function readPublicIdentity(data: DataDirectory): Promise<IdentityFile | undefined> {
  const content = await readIfExists(data.identity);
  if (content === undefined) return undefined;
  const value = parseJson(content.toString('utf8'));
  if (Check(IdentitySchema, value)) return value;
  throw new AgentError(
    `${data.identity} is damaged.`,
    'Restore this file alone from a backup (with the whole directory, the agent would be taken for a copy), or enroll this machine again with --force.',
  );
}

/** @throws {AgentError} if this machine is not enrolled or its keys are gone. */
export async function readIdentity(data: DataDirectory): Promise<Identity> {
  const file = await readPublicIdentity(data);
  if (file === undefined) {
    throw new AgentError(
      `This agent is not enrolled: ${data.identity} does not exist.`,
      `Run "${agentCommand()} enroll" first, or name the right directory with --data.`,
    );
  }
  const signingPrivateKey = await readKey(data.signingKey);
  const encryptionPrivateKey = await encryptionKeyBeside(data, signingPrivateKey);
  if (signingPrivateKey === undefined || encryptionPrivateKey === undefined) {
    throw new AgentError(
      `The agent's keys are missing from ${data.root}.`,
      'If you have a backup from after the last change of its keys, restore the key files alone from it (with the whole directory, the agent would be taken for a copy). Otherwise enroll this machine again with --force.',
    );
  }
  const ca = await readIfExists(data.ca);
  return {
    ...file,
    serverKey: decodeBase64(file.serverKey, 32, 'serverKey'),
    segmentRoot: decodeBase64(file.segmentRoot, 32, 'segmentRoot'),
    signingPrivateKey,
    signingPublicKey: await signingPublicKeyOf(signingPrivateKey),
    encryptionPrivateKey,
    ca: ca?.toString('utf8'),
  };
}

/**
 * Returns the next encryption key if the next signing key is already in place: their replacement was interrupted in
 * between.
 */
async function encryptionKeyBeside(
  data: DataDirectory,
  signingPrivateKey: Uint8Array | undefined,
): Promise<Uint8Array | undefined> {
  const next = await readNextKeys(data);
  const isInUse =
    next !== undefined &&
    signingPrivateKey !== undefined &&
    equalBytes(next.signingPrivateKey, signingPrivateKey);
  return isInUse ? next.encryptionPrivateKey : readKey(data.encryptionKey);
}

/**
 * Returns the fingerprint that the agent's owner compares with what the server shows.
 *
 * @throws {AgentError} like `readIdentity`.
 */
export async function fingerprintOf(data: DataDirectory): Promise<string> {
  const { signingPublicKey, encryptionPrivateKey, ...identity } = await readIdentity(data);
  return agentFingerprint({
    ...identity,
    signingKey: signingPublicKey,
    encryptionKey: await encryptionPublicKeyOf(encryptionPrivateKey),
  });
}

/** Returns the key pair of a file, generated and stored if there is none yet. */
export async function keyPairAt(
  path: string,
  publicKeyOf: (privateKey: Uint8Array) => Promise<Uint8Array<ArrayBuffer>>,
  generate: () => Promise<KeyPair>,
): Promise<KeyPair> {
  const stored = await readKey(path);
  if (stored !== undefined) {
    return { privateKey: new Uint8Array(stored), publicKey: await publicKeyOf(stored) };
  }
  const pair = await generate();
  await saveKey(path, pair.privateKey);
  return pair;
}

/** Returns the value of a JSON text; undefined if it is none. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
