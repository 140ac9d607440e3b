// A data directory as enrollment leaves it, for an agent of a FakeServer.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  encodeBase64,
  generateEncryptionKeyPair,
  generateSigningKeyPair,
  type KeyPair,
  signGeneration,
} from '@opsconductor/protocol/sealing';
import { saveGeneration } from '../identity/connect-generation.ts';
import { type DataDirectory, dataDirectory, prepareDataDirectory } from '../identity/data-directory.ts';
import { saveIdentity, saveKey } from '../identity/identity.ts';
import { type FakeServer, installationId } from './fake-server.ts';

export const agentId = 7;
export const segmentId = 3;

export interface EnrolledDirectory {
  data: DataDirectory;
  signing: KeyPair;
  encryption: KeyPair;
  segmentRoot: KeyPair;
  remove(): Promise<void>;
}

export async function temporaryDirectory(): Promise<{ path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'agent-test-'));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

export async function enrolledDirectory(server: FakeServer): Promise<EnrolledDirectory> {
  const { path, remove } = await temporaryDirectory();
  const data = dataDirectory(join(path, 'data'));
  await prepareDataDirectory(data);
  const signing = await generateSigningKeyPair();
  const encryption = await generateEncryptionKeyPair();
  const segmentRoot = await generateSigningKeyPair();
  await saveKey(data.signingKey, signing.privateKey);
  await saveKey(data.encryptionKey, encryption.privateKey);
  const statement = { installationId, agentId, generation: 0 };
  const signature = await signGeneration(server.key.privateKey, statement);
  await saveGeneration(data.generation, { generation: 0, signature });
  await saveIdentity(data, {
    server: server.url,
    agentId,
    agentName: 'agent-one',
    segmentId,
    segmentName: 'dmz',
    installationId,
    serverKey: encodeBase64(server.key.publicKey),
    segmentRoot: encodeBase64(segmentRoot.publicKey),
    enrolledAt: '2026-01-01T00:00:00.000Z',
  });
  return { data, signing, encryption, segmentRoot, remove };
}
