// The keys of the demo's target. ssh2 is loaded only when they are made, so a server that already has them does without
// it.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileDurably } from '../database/durable-file.ts';

export interface KeyPair {
  /** OpenSSH private key text, unencrypted. */
  privateKey: string;
  /** OpenSSH public key line. */
  publicKey: string;
}

export async function generateDemoKeys(): Promise<{ host: KeyPair; client: KeyPair }> {
  return { host: await ed25519('opsconductor-demo-host'), client: await ed25519('opsconductor-demo') };
}

async function ed25519(comment: string): Promise<KeyPair> {
  const { utils } = (await import('ssh2')).default;
  for (;;) {
    const pair = utils.generateKeyPairSync('ed25519', { comment });
    // ssh2 1.17 loses the leading zero byte of a key that has one, and then writes a key that can't be read.
    if ([pair.private, pair.public].some((text) => utils.parseKey(text) instanceof Error)) continue;
    return { privateKey: pair.private, publicKey: pair.public };
  }
}

/** Makes the demo's keys, unless all of them are there. The last file says that they are. */
export async function makeDemoKeys(folder: string): Promise<void> {
  const last = join(folder, 'client-key.pub');
  // Of a start of an earlier version that was cut off, it may be empty.
  const known = await readFile(last, 'utf8').catch(() => '');
  if (known !== '') return;
  const { host, client } = await generateDemoKeys();
  await writeFileDurably(join(folder, 'host-key'), host.privateKey, 0o600);
  await writeFileDurably(join(folder, 'client-key'), client.privateKey, 0o600);
  await writeFileDurably(last, client.publicKey, 0o600);
}
