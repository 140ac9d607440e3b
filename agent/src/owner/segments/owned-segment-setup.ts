// A segment whose root an owner holds, on a server that shows what a test lets it show.
import { join } from 'node:path';
import type { SegmentRoster } from '@opsconductor/protocol';
import {
  encodeBase64,
  fingerprint,
  generateEncryptionKeyPair,
  generateSigningKeyPair,
  type Roster,
  type SignedRoster,
  signRoster,
} from '@opsconductor/protocol/sealing';
import type { Api } from '../../start-run/api-client.ts';
import { KnownRoots } from '../../start-run/known-roots.ts';
import { temporaryDirectory } from '../../testing/enrolled-directory.ts';
import { initSegment, readOwned, type SignHow, signNextRoster } from './owned-segment.ts';

export const installationId = 'installation-1';
export const segmentId = 3;

export async function setup() {
  const { path, remove } = await temporaryDirectory();
  const file = join(path, 'roots.json');
  const pair = await generateSigningKeyPair();
  const root = { purpose: 'root' as const, ...pair };
  const key = await generateEncryptionKeyPair();
  const segmentKeys = [{ generation: 1, publicKey: encodeBase64(key.publicKey) }];
  const first: Roster = {
    ...{ installationId, segmentId, number: 1, agents: [], revoked: [] },
    ...{ segmentKeys, currentGeneration: 1 },
  };
  const state: SegmentRoster = {
    ...{
      installationId,
      segmentId,
      segmentName: 'dmz',
      root: 'owner_held',
      roster: null,
      agents: [],
      offers: [],
    },
    rootPublicKey: encodeBase64(root.publicKey),
  };
  const sent: { path: string; body: unknown }[] = [];
  const server = { state, sent, refuses: false, segments: [] as object[] };
  const sealingKey = () => ({
    ...{
      installationId,
      segmentId: server.state.segmentId,
      generation: 1,
      publicKey: segmentKeys[0]?.publicKey,
    },
    ...{ rootPublicKey: server.state.rootPublicKey, roster: server.state.roster },
  });
  const api = {
    async get(asked: string) {
      if (asked === '/api/v1/segments') return { items: server.segments, named: [], nextCursor: null };
      if (asked.includes('sealing-key')) return sealingKey();
      return asked.includes('credentials') ? { items: [], nextCursor: null } : server.state;
    },
    async post(asked: string, body: unknown) {
      if (server.refuses) throw new Error('the server is gone');
      sent.push({ path: asked, body });
      if (asked.endsWith('/roster')) server.state = { ...server.state, roster: body as SignedRoster };
      return { id: segmentId, rootFingerprint: await fingerprint(root.publicKey), version: 1, generation: 1 };
    },
  } as unknown as Api;
  const roots = () => KnownRoots.read(file, false);
  await initSegment(api, await roots(), { name: 'dmz', rootPublicKey: root.publicKey });
  const read = async () => readOwned(api, (await roots()).named('dmz'), root.publicKey);
  const recoveryKey = async () => encodeBase64((await generateEncryptionKeyPair()).publicKey);
  return {
    ...{ folder: path, root, key, first, server, sent, roots, read, api, recoveryKey },
    signed: (roster: Partial<Roster>, by = pair) => signRoster(by.privateKey, { ...first, ...roster }),
    /** The owner signs something that is new in each roster. */
    sign: async ({
      remove = [],
      admit = [],
      ...how
    }: SignHow & { remove?: string[]; admit?: [string, string][] } = {}) => {
      const decisions = { admit: new Map(admit), remove, recoveryKey: await recoveryKey() };
      return signNextRoster({ root, roots: await roots(), api }, await read(), decisions, how);
    },
    [Symbol.asyncDispose]: remove,
  };
}

export async function member(agentId: number): Promise<Roster['agents'][number]> {
  const [signing, encryption] = [await generateSigningKeyPair(), await generateEncryptionKeyPair()];
  const keys = {
    signingKey: encodeBase64(signing.publicKey),
    encryptionKey: encodeBase64(encryption.publicKey),
  };
  return { agentId, name: `agent-${agentId}`, ...keys };
}
