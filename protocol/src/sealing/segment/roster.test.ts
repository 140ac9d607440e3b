import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { encodeBase64, encodeFields } from '../encoding.ts';
import { generateEncryptionKeyPair, generateSigningKeyPair, type KeyPair, sign } from '../keys.ts';
import {
  type Roster,
  type RosterExpectation,
  rosterMember,
  rosterSegmentKey,
  type SignedRoster,
  signRoster,
  verifyRoster,
} from './roster.ts';

let root: KeyPair;
let roster: Roster;
let signed: SignedRoster;
const expected: RosterExpectation = { installationId: 'inst-1', segmentId: 7, minNumber: 5 };
const key = (fill: number) => encodeBase64(new Uint8Array(32).fill(fill));

beforeAll(async () => {
  root = await generateSigningKeyPair();
  roster = {
    installationId: 'inst-1',
    segmentId: 7,
    number: 5,
    agents: [
      { agentId: 41, name: 'edge-a', signingKey: key(1), encryptionKey: key(2) },
      { agentId: 42, name: 'edge-b', signingKey: key(3), encryptionKey: key(4) },
    ],
    segmentKeys: [
      { generation: 1, publicKey: key(5) },
      { generation: 2, publicKey: key(6) },
    ],
    currentGeneration: 2,
    recoveryKey: key(7),
    revoked: [{ agentId: 40, atNumber: 4 }],
  };
  signed = await signRoster(root.privateKey, roster);
});

/** Signs like a root that skips the checks: such rosters must be refused although their signatures are valid. */
async function signUnchecked(value: unknown): Promise<SignedRoster> {
  const payload = typeof value === 'string' ? value : JSON.stringify(value);
  const signature = await sign(root.privateKey, encodeFields('segment-roster', [payload]));
  return { payload, signature: encodeBase64(signature) };
}

describe('verifyRoster', () => {
  it('reads what the root signed', async () => {
    expect(await verifyRoster(root.publicKey, signed, expected)).toEqual(roster);
  });

  it('refuses another root’s signature', async () => {
    const other = await generateSigningKeyPair();
    await expect(verifyRoster(other.publicKey, signed, expected)).rejects.toMatchObject({
      reason: 'bad_signature',
    });
  });

  it('refuses any change of the payload, even white space', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(signed.payload.length),
        fc.constantFrom(' ', '0', '"'),
        async (at, character) => {
          const payload = signed.payload.slice(0, at) + character + signed.payload.slice(at);
          await expect(verifyRoster(root.publicKey, { ...signed, payload }, expected)).rejects.toMatchObject({
            reason: 'bad_signature',
          });
        },
      ),
      { numRuns: 50 },
    );
  });

  it('refuses a signature over the bare payload, without the domain', async () => {
    const signature = encodeBase64(await sign(root.privateKey, new TextEncoder().encode(signed.payload)));
    await expect(verifyRoster(root.publicKey, { ...signed, signature }, expected)).rejects.toMatchObject({
      reason: 'bad_signature',
    });
  });

  it('refuses a lower number than the last one seen', async () => {
    await expect(verifyRoster(root.publicKey, signed, { ...expected, minNumber: 6 })).rejects.toMatchObject({
      reason: 'rolled_back',
    });
  });

  it('refuses a different roster with the number of the held one, and accepts the held one again', async () => {
    const second = await signRoster(root.privateKey, { ...roster, agents: roster.agents.slice(0, 1) });
    const held = { ...expected, heldPayload: signed.payload };
    await expect(verifyRoster(root.publicKey, second, held)).rejects.toMatchObject({ reason: 'rolled_back' });
    expect(await verifyRoster(root.publicKey, signed, held)).toEqual(roster);
    const next = await signRoster(root.privateKey, { ...roster, number: 6 });
    expect(await verifyRoster(root.publicKey, next, held)).toMatchObject({ number: 6 });
  });

  it.each<[string, Partial<RosterExpectation>]>([
    ['segment', { segmentId: 8 }],
    ['installation', { installationId: 'inst-2' }],
  ])('refuses the roster of another %s', async (_, changes) => {
    await expect(verifyRoster(root.publicKey, signed, { ...expected, ...changes })).rejects.toMatchObject({
      reason: 'foreign',
    });
  });

  const [edgeA, edgeB] = [
    { agentId: 41, name: 'edge-a', signingKey: key(1), encryptionKey: key(2) },
    { agentId: 42, name: 'edge-b', signingKey: key(3), encryptionKey: key(4) },
  ];
  it.each<[string, object]>([
    ['agents lists 41 twice', { agents: [edgeA, { ...edgeB, agentId: 41 }] }],
    ['agents lists', { agents: [edgeA, { ...edgeB, signingKey: edgeA?.signingKey }] }],
    ['agents lists', { agents: [edgeA, { ...edgeB, encryptionKey: edgeA?.encryptionKey }] }],
    ['has no key in segmentKeys', { currentGeneration: 3 }],
    ['is not the newest generation', { currentGeneration: 1 }],
    [
      'segmentKeys lists 2 twice',
      { segmentKeys: [1, 2, 2].map((n, at) => ({ generation: n, publicKey: key(at) })) },
    ],
    ['names agent 41, a member', { revoked: [{ agentId: 41, atNumber: 5 }] }],
    ['is of roster 6, after this one', { revoked: [{ agentId: 40, atNumber: 6 }] }],
    ['must be base64 of 32 bytes', { recoveryKey: `${'A'.repeat(43)}!` }],
    ['recoveryKey', { recoveryKey: 'AAAA' }],
    ['Roster', { surprise: true }],
  ])('refuses, although signed, a roster that %s', async (message, changes) => {
    const bad = { ...roster, ...changes } as Roster;
    const forged = await signUnchecked(bad);
    const verdict = verifyRoster(root.publicKey, forged, expected);
    await expect(verdict).rejects.toMatchObject({ reason: 'malformed' });
    await expect(verdict).rejects.toThrow(message);
    await expect(signRoster(root.privateKey, bad)).rejects.toMatchObject({ reason: 'malformed' });
  });

  it('refuses signed text that is not JSON', async () => {
    await expect(verifyRoster(root.publicKey, await signUnchecked('{'), expected)).rejects.toMatchObject({
      reason: 'malformed',
    });
  });
});

describe('a roster', () => {
  it('knows its members, but not revoked ones', () => {
    expect(rosterMember(roster, 42)?.name).toBe('edge-b');
    expect(rosterMember(roster, 40)).toBeUndefined();
  });

  it('gives the current segment key, or an older one by its generation', () => {
    expect(rosterSegmentKey(roster)).toEqual(new Uint8Array(32).fill(6));
    expect(rosterSegmentKey(roster, 1)).toEqual(new Uint8Array(32).fill(5));
    expect(rosterSegmentKey(roster, 9)).toBeUndefined();
  });

  it('carries keys as the generators make them', async () => {
    const [signing, encryption] = [await generateSigningKeyPair(), await generateEncryptionKeyPair()];
    const agents = [
      {
        agentId: 1,
        name: 'a',
        signingKey: encodeBase64(signing.publicKey),
        encryptionKey: encodeBase64(encryption.publicKey),
      },
    ];
    const again = await signRoster(root.privateKey, { ...roster, agents });
    expect((await verifyRoster(root.publicKey, again, expected)).agents).toEqual(agents);
  });
});
