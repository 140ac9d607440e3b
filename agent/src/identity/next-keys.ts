// Keys that this agent has made and that are not in use yet: both in one file, so that there are both or none.
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
 * Makes new keys, unless there are some that are not in use yet, or somebody else makes some meanwhile. They belong to whom the agent runs as, whoever makes them.
 *
 * @returns whether they were made now.
 */
export async function makeNextKeys(data: DataDirectory): Promise<boolean> {
  if ((await readIfExists(data.nextKeys)) !== undefined) return false;
  const { privateKey: signing } = await generateSigningKeyPair();
  const { privateKey: encryption } = await generateEncryptionKeyPair();
  const owner = process.getuid?.() === 0 ? await stat(data.identity) : undefined;
  return createDurably(data.nextKeys, `${encodeBase64(signing)}\n${encodeBase64(encryption)}\n`, owner);
}
