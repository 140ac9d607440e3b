import { beforeAll, describe, expect, it } from 'vitest';
import { generateSigningKeyPair, type KeyPair } from '../keys.ts';
import { enrollmentStatement, segmentKeyStatement } from '../segment/enrollment-statement.ts';
import { type ConnectGeneration, signGeneration, verifyGeneration } from './generation.ts';
import { type Handshake, handshakeTranscript, signHandshake, verifyHandshake } from './handshake.ts';

const handshake: Handshake = {
  serverNonce: new Uint8Array(32).fill(1),
  agentNonce: new Uint8Array(32).fill(2),
  installationId: 'inst-1',
  serverId: 'server-1',
  agentId: 41,
  segmentId: 7,
  offeredByServer: [1, 2],
  offeredByAgent: [2, 3],
  chosen: 2,
};
let key: KeyPair;

beforeAll(async () => {
  key = await generateSigningKeyPair();
});

describe('a handshake signature', () => {
  it('verifies in its role', async () => {
    const transcript = handshakeTranscript(handshake);
    for (const role of ['agent', 'server'] as const) {
      const signature = await signHandshake(role, key.privateKey, transcript);
      expect(await verifyHandshake(role, key.publicKey, transcript, signature)).toBe(true);
    }
  });

  it('cannot be reflected as the other side’s, even by one key', async () => {
    const transcript = handshakeTranscript(handshake);
    const signature = await signHandshake('agent', key.privateKey, transcript);
    expect(await verifyHandshake('server', key.publicKey, transcript, signature)).toBe(false);
  });

  it.each<[string, Partial<Handshake>]>([
    ['server nonce', { serverNonce: new Uint8Array(32).fill(3) }],
    ['agent nonce', { agentNonce: new Uint8Array(32).fill(3) }],
    ['swapped nonces', { serverNonce: handshake.agentNonce, agentNonce: handshake.serverNonce }],
    ['installation', { installationId: 'inst-2' }],
    ['server', { serverId: 'server-2' }],
    ['agent', { agentId: 42 }],
    ['segment', { segmentId: 8 }],
    ['swapped agent and segment', { agentId: 7, segmentId: 41 }],
    ['server offer', { offeredByServer: [2] }],
    ['agent offer', { offeredByAgent: [2] }],
    ['order of an offer', { offeredByServer: [2, 1] }],
    ['chosen version', { chosen: 1, offeredByAgent: [1, 2, 3] }],
  ])('does not hold for another %s', async (_, changes) => {
    const signature = await signHandshake('agent', key.privateKey, handshakeTranscript(handshake));
    const other = handshakeTranscript({ ...handshake, ...changes });
    expect(await verifyHandshake('agent', key.publicKey, other, signature)).toBe(false);
  });

  it.each([1, 3, 4])('is not made for version %i, which a side did not offer', (chosen) => {
    expect(() => handshakeTranscript({ ...handshake, chosen })).toThrow('not offered by both sides');
  });

  it('is made for no version only if the offers share none', async () => {
    expect(() => handshakeTranscript({ ...handshake, chosen: 0 })).toThrow('not offered by both sides');
    const apart = { ...handshake, offeredByServer: [3], offeredByAgent: [1, 2], chosen: 0 };
    const signature = await signHandshake('agent', key.privateKey, handshakeTranscript(apart));
    const other = handshakeTranscript({ ...apart, offeredByServer: [4] });
    expect(await verifyHandshake('agent', key.publicKey, other, signature)).toBe(false);
  });

  it('is not made with a short nonce', () => {
    expect(() => handshakeTranscript({ ...handshake, agentNonce: new Uint8Array(16) })).toThrow('32 bytes');
  });
});

describe('a signed connect generation', () => {
  const generation: ConnectGeneration = { installationId: 'inst-1', agentId: 41, generation: 9 };

  it('verifies for the agent and number it was signed for, and no other', async () => {
    const signature = await signGeneration(key.privateKey, generation);
    expect(await verifyGeneration(key.publicKey, generation, signature)).toBe(true);
    for (const changes of [{ generation: 10 }, { agentId: 42 }, { installationId: 'inst-2' }]) {
      expect(await verifyGeneration(key.publicKey, { ...generation, ...changes }, signature)).toBe(false);
    }
    const other = await generateSigningKeyPair();
    expect(await verifyGeneration(other.publicKey, generation, signature)).toBe(false);
    expect(await verifyGeneration(key.publicKey, generation, '')).toBe(false);
  });

  it('starts at 0', async () => {
    const first = { ...generation, generation: 0 };
    expect(await verifyGeneration(key.publicKey, first, await signGeneration(key.privateKey, first))).toBe(
      true,
    );
  });
});

describe('statements before the first connection', () => {
  const [one, two] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];

  it('tie an enrollment to its token, name and both keys', () => {
    const enrollment = { token: 'oce_x.y', name: 'edge-a', signingKey: one, encryptionKey: two };
    const statement = enrollmentStatement(enrollment);
    for (const changes of [
      { token: 'oce_x.z' },
      { name: 'edge-b' },
      { signingKey: two },
      { encryptionKey: one },
    ]) {
      expect(enrollmentStatement({ ...enrollment, ...changes })).not.toEqual(statement);
    }
  });

  it('tie an offered segment key to everything it is for', () => {
    const offer = {
      installationId: 'inst-1',
      segmentId: 7,
      agentId: 41,
      generation: 1,
      segmentPublicKey: one,
      wrapped: 'AQ==',
    };
    const statement = segmentKeyStatement(offer);
    for (const changes of [
      { installationId: 'inst-2' },
      { segmentId: 8 },
      { agentId: 42 },
      { generation: 2 },
      { segmentPublicKey: two },
      { wrapped: 'Ag==' },
    ]) {
      expect(segmentKeyStatement({ ...offer, ...changes })).not.toEqual(statement);
    }
  });
});
