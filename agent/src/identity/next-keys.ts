// New keys of this agent that are not in use yet. Both are in one file, so that there are either both or none.
import { stat } from 'node:fs/promises';
import {
  decodeBase64,
  encodeBase64,
  generateEncryptionKeyPair,
  generateSigningKeyPair,
} from '@opsconductor/protocol/sealing';
import type { DataDirectory } from './data-directory.ts';
import { createDurably, readIfExists } from './durable-file.ts';

export interface PrivateKeys {
  signingPrivateKey: Uint8Array;
  encryptionPrivateKey: Uint8Array;
}

/** Returns the keys that are about to replace those in use; undefined if there are none. */
export async function readNextKeys({ nextKeys }: DataDirectory): Promise<PrivateKeys | undefined> {
  const content = await readIfExists(nextKeys);
  if (content === undefined) return undefined;
  const [signing = '', encryption = ''] = content.toString('utf8').split('\n');
  return {
    signingPrivateKey: decodeBase64(signing, 32, nextKeys),
    encryptionPrivateKey: decodeBase64(encryption, 32, nextKeys),
  };
}

/**
 * Makes new keys, unless there already are some or somebody else makes some at the same time. Whoever makes them, the
 * file belongs to the user that the agent runs as.
 *
 * @returns whether this call made them.
 */
export async function makeNextKeys(data: DataDirectory): Promise<boolean> {
  if ((await readIfExists(data.nextKeys)) !== undefined) return false;
  const { privateKey: signing } = await generateSigningKeyPair();
  const { privateKey: encryption } = await generateEncryptionKeyPair();
  const owner = process.getuid?.() === 0 ? await stat(data.identity) : undefined;
  return createDurably(data.nextKeys, `${encodeBase64(signing)}\n${encodeBase64(encryption)}\n`, owner);
}
