import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { credentialKinds } from '../../api/agents/credentials.ts';
import type { CredentialBounds } from '../bounds/bounds.ts';
import { decodeBase64, encodeBase64 } from '../encoding.ts';
import type { KeyPair } from '../keys.ts';
import { generateSegmentKey } from '../segment/segment-key.ts';
import {
  type CredentialBinding,
  type CredentialSecret,
  credentialProblems,
  openCredential,
  type SealedCredential,
  sealCredential,
} from './credential.ts';
import { sealEnvelope } from './envelope.ts';

const bounds: CredentialBounds = {
  hosts: ['*'],
  networks: [],
  ports: [22],
  protocols: ['ssh'],
  user: 'deploy',
  authentication: ['password', 'publickey'],
};
const password = (text: string): CredentialSecret => ({
  kind: 'ssh_password',
  user: 'deploy',
  password: text,
  bounds,
});
const binding: CredentialBinding = {
  installationId: 'inst-1',
  credentialId: '0b2ed5e4-93c5-4bb3-9d5f-6d3f7f3c1a00',
  version: 3,
  kind: 'ssh_password',
  segmentId: 7,
  generation: 2,
};
let segment: KeyPair;
let sealed: SealedCredential;

beforeAll(async () => {
  segment = await generateSegmentKey();
  sealed = await sealCredential({
    segmentPublicKey: segment.publicKey,
    binding,
    secret: password('correct horse'),
  });
});

const open = (changes: Partial<CredentialBinding> = {}, value = sealed) =>
  openCredential({
    segmentPrivateKey: segment.privateKey,
    binding: { ...binding, ...changes },
    sealed: value,
  });

/** Flips one bit of base64 bytes. */
function flipped(text: string, bit: number): string {
  const bytes = decodeBase64(text);
  const at = bit % (bytes.length * 8);
  bytes[at >> 3] = (bytes[at >> 3] ?? 0) ^ (1 << (at & 7));
  return encodeBase64(bytes);
}

describe('a sealed credential', () => {
  it('opens to its secret with its bounds', async () => {
    expect(await open()).toEqual(password('correct horse'));
  });

  it('opens regardless of the case of its UUID', async () => {
    expect(await open({ credentialId: binding.credentialId.toUpperCase() })).toEqual(
      password('correct horse'),
    );
  });

  it.each<[string, Partial<CredentialBinding>]>([
    ['installation', { installationId: 'inst-2' }],
    ['credential', { credentialId: '0b2ed5e4-93c5-4bb3-9d5f-6d3f7f3c1a01' }],
    ['version', { version: 2 }],
    ['kind', { kind: 'ssh_private_key' }],
    ['segment', { segmentId: 8 }],
    ['generation', { generation: 1 }],
  ])('cannot be presented as that of another %s', async (_, changes) => {
    const told = changes.generation === undefined ? sealed : { ...sealed, generation: changes.generation };
    await expect(open(changes, told)).rejects.toMatchObject({ reason: 'unopenable' });
  });

  it('names its generation, and is refused under another before anything is decrypted', async () => {
    expect(sealed.generation).toBe(2);
    await expect(open({ generation: 1 })).rejects.toThrow('generation 2 of the segment key, not 1');
  });

  it('opens with no other segment’s key', async () => {
    const other = await generateSegmentKey();
    await expect(
      openCredential({ segmentPrivateKey: other.privateKey, binding, sealed }),
    ).rejects.toMatchObject({ reason: 'unopenable' });
  });

  // Including the top bit of `enc`, which X25519 itself ignores (RFC 7748 section 5).
  it('is refused with any bit flipped, in any part', async () => {
    const topBitOfEnc = { ...sealed, enc: flipped(sealed.enc, 255) };
    await expect(open({}, topBitOfEnc)).rejects.toMatchObject({ reason: 'unopenable' });
    const part = fc.constantFrom('enc', 'wrappedKey', 'nonce', 'ciphertext' as const);
    await fc.assert(
      fc.asyncProperty(part, fc.nat(), async (name, bit) => {
        const altered = { ...sealed, [name]: flipped(sealed[name], bit) };
        await expect(open({}, altered)).rejects.toMatchObject({ reason: 'unopenable' });
      }),
      { numRuns: 60 },
    );
  });

  it.each<[string, object]>([
    ['another version', { v: 2 }],
    ['a short nonce', { nonce: 'AAAA' }],
    ['no ciphertext', { ciphertext: undefined }],
    ['base64 with line breaks', { enc: 'AAAA\nAAAA' }],
  ])('is refused as malformed with %s', async (_, changes) => {
    await expect(open({}, { ...sealed, ...changes } as SealedCredential)).rejects.toMatchObject({
      reason: 'malformed',
    });
  });

  it('never seals twice to the same bytes', async () => {
    const again = await sealCredential({
      segmentPublicKey: segment.publicKey,
      binding,
      secret: password('correct horse'),
    });
    for (const part of ['enc', 'wrappedKey', 'nonce', 'ciphertext'] as const) {
      expect(again[part]).not.toBe(sealed[part]);
    }
  });

  it('does not reveal how long the password is', async () => {
    const lengths = await Promise.all(
      ['a', 'a'.repeat(20), 'a'.repeat(64)].map(async (text) => {
        const value = await sealCredential({
          segmentPublicKey: segment.publicKey,
          binding,
          secret: password(text),
        });
        return value.ciphertext.length;
      }),
    );
    expect(new Set(lengths).size).toBe(1);
  });

  it('returns any secret that it accepts', async () => {
    const text = fc
      .string({ unit: 'binary', minLength: 1, maxLength: 300 })
      .filter((s) => !/\p{Surrogate}/u.test(s));
    const secret = fc.oneof(
      text.map(password),
      fc
        .record({ privateKey: text, passphrase: text })
        .map((fields): CredentialSecret => ({ kind: 'ssh_private_key', user: 'deploy', ...fields, bounds })),
    );
    await fc.assert(
      fc.asyncProperty(secret, async (value) => {
        const told = { ...binding, kind: value.kind };
        const one = await sealCredential({
          segmentPublicKey: segment.publicKey,
          binding: told,
          secret: value,
        });
        expect(await open(told, one)).toEqual(value);
      }),
      { numRuns: 25 },
    );
  });

  it('accepts the largest possible credential', async () => {
    const large: CredentialSecret = {
      kind: 'ssh_private_key',
      user: 'deploy',
      privateKey: '\n'.repeat(32_768),
      passphrase: 'p'.repeat(4_096),
      bounds: { ...bounds, hosts: Array(200).fill(`${'a'.repeat(60)}.example.com`) },
    };
    const told = { ...binding, kind: large.kind };
    const value = await sealCredential({ segmentPublicKey: segment.publicKey, binding: told, secret: large });
    expect(await open(told, value)).toEqual(large);
  });

  it('is refused if it opens to something that is not a credential', async () => {
    const context = {
      domain: 'credential',
      fields: ['inst-1', binding.credentialId, 3, 'ssh_password', 7],
      generation: 2,
    };
    for (const contents of ['{"kind":"ssh_password"}', 'hunter2', '[]']) {
      const forged = await sealEnvelope(segment.publicKey, context, new TextEncoder().encode(contents));
      const verdict = open({}, forged);
      await expect(verdict).rejects.toMatchObject({ reason: 'malformed' });
      await expect(verdict).rejects.not.toThrow(/hunter2/);
    }
  });
});

describe('credentialProblems', () => {
  it('accepts the kinds that the API names', () => {
    expect(credentialProblems({})[0]?.message).toBe(`must be one of ${credentialKinds.join(', ')}`);
  });

  it.each<[string, object]>([
    ['bounds.user', { bounds: { ...bounds, user: 'root' } }],
    ['bounds.protocols', { bounds: { ...bounds, protocols: ['winrm'] } }],
    ['bounds.authentication', { bounds: { ...bounds, authentication: ['publickey'] } }],
    ['bounds.hosts', { bounds: { ...bounds, hosts: [] } }],
    ['bounds.hosts[0]', { bounds: { ...bounds, hosts: ['10.*'] } }],
    ['password', { password: 'x'.repeat(4_097) }],
    ['user', { user: '' }],
  ])('names %s, and sealing refuses it', async (path, changes) => {
    const secret = { ...password('x'), ...changes } as CredentialSecret;
    expect(credentialProblems(secret).map((problem) => problem.path)).toContain(path);
    await expect(
      sealCredential({ segmentPublicKey: segment.publicKey, binding, secret }),
    ).rejects.toMatchObject({ reason: 'malformed' });
  });

  it('does not repeat a secret in its messages', () => {
    const problems = credentialProblems({ ...password('hunter2'.repeat(1_000)) });
    expect(JSON.stringify(problems)).not.toContain('hunter2');
  });

  it('sealing refuses a secret under another kind', async () => {
    await expect(
      sealCredential({
        segmentPublicKey: segment.publicKey,
        binding: { ...binding, kind: 'ssh_private_key' },
        secret: password('x'),
      }),
    ).rejects.toThrow('cannot be sealed as ssh_private_key');
  });
});
