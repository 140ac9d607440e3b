import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hpkeOpen, hpkeSeal, hpkeSuite } from './hpke.ts';
import { generateEncryptionKeyPair } from './keys.ts';

const hex = (text: string) => Uint8Array.from(Buffer.from(text, 'hex'));
const toHex = (bytes: ArrayBuffer) => Buffer.from(bytes).toString('hex');

// The RFC's test vectors, base mode with DHKEM(X25519, HKDF-SHA256) = 0x0020, HKDF-SHA256 = 0x0001, AES-256-GCM =
// 0x0002. RFC 9180's Appendix A prints other suites; the complete file it refers to (test-vectors.json of the CFRG)
// has this one.
const vector = {
  info: '4f6465206f6e2061204772656369616e2055726e',
  ikmE: '2cd7c601cefb3d42a62b04b7a9041494c06c7843818e0ce28a8f704ae7ab20f9',
  ikmR: 'dac33b0e9db1b59dbbea58d59a14e7b5896e9bdf98fad6891e99d1686492b9ee',
  skRm: '497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d',
  pkRm: '430f4b9859665145a6b1ba274024487bd66f03a2dd577d7753c68d7d7d00c00c',
  enc: '6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256',
  aad: '436f756e742d30',
  plaintext: '4265617574792069732074727574682c20747275746820626561757479',
  ciphertext: 'e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a',
  exports: [
    ['', 'ded6cffafaea6b812cbf3e241e88332adbc077aca81512914213810ee291770a'],
    ['00', '04d3cb6cc116b28ffd22ad5bc276c60d31fec71ceb87ae24db811c64b7507339'],
    ['54657374436f6e74657874', '7c5ded445732c14fe09727d29b4251c0fd38455fe8440571e687f0886aac94d2'],
  ],
} as const;

describe('RFC 9180 known answers', () => {
  it('names the suite by its registered ids', () => {
    expect([hpkeSuite.kem.id, hpkeSuite.kdf.id, hpkeSuite.aead.id]).toEqual([0x0020, 0x0001, 0x0002]);
  });

  it('derives the recipient key pair', async () => {
    const pair = await hpkeSuite.kem.deriveKeyPair(hex(vector.ikmR));
    expect(toHex(await hpkeSuite.kem.serializePublicKey(pair.publicKey))).toBe(vector.pkRm);
    expect(toHex(await hpkeSuite.kem.serializePrivateKey(pair.privateKey))).toBe(vector.skRm);
  });

  it('seals to the expected encapsulated key, ciphertext and exported secrets', async () => {
    const sender = await hpkeSuite.createSenderContext({
      recipientPublicKey: await hpkeSuite.kem.deserializePublicKey(hex(vector.pkRm)),
      info: hex(vector.info),
      ekm: hex(vector.ikmE),
    });
    expect(toHex(sender.enc)).toBe(vector.enc);
    expect(toHex(await sender.seal(hex(vector.plaintext), hex(vector.aad)))).toBe(vector.ciphertext);
    for (const [context, secret] of vector.exports) {
      expect(toHex(await sender.export(hex(context), 32))).toBe(secret);
    }
  });

  it('opens the ciphertext', async () => {
    const opened = await hpkeOpen({
      recipientPrivateKey: hex(vector.skRm),
      info: hex(vector.info),
      aad: hex(vector.aad),
      sealed: { enc: hex(vector.enc), ciphertext: hex(vector.ciphertext) },
    });
    expect(opened).toEqual(hex(vector.plaintext));
  });
});

describe('hpkeSeal and hpkeOpen', () => {
  const bytes = fc.uint8Array({ maxLength: 64 });

  it('give back any plaintext under the same info and aad, many at a time', async () => {
    const pair = await generateEncryptionKeyPair();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ info: bytes, aad: bytes, plaintext: bytes }), { maxLength: 8 }),
        async (inputs) => {
          const opened = await Promise.all(
            inputs.map(async (input) => {
              const sealed = await hpkeSeal({ recipientPublicKey: pair.publicKey, ...input });
              return hpkeOpen({ recipientPrivateKey: pair.privateKey, ...input, sealed });
            }),
          );
          expect(opened).toEqual(inputs.map(({ plaintext }) => plaintext));
        },
      ),
      { numRuns: 20 },
    );
  });

  it('refuse any altered byte, a different key, a different info, and a different aad', async () => {
    const pair = await generateEncryptionKeyPair();
    const [info, aad] = [hex('01'), hex('02')];
    const sealed = await hpkeSeal({ recipientPublicKey: pair.publicKey, info, aad, plaintext: hex('0304') });
    const opening = { recipientPrivateKey: pair.privateKey, info, aad, sealed };
    expect(await hpkeOpen(opening)).toEqual(hex('0304'));

    const refused = { reason: 'unopenable' };
    for (let at = 0; at < sealed.ciphertext.length; at++) {
      const ciphertext = sealed.ciphertext.map((byte, i) => (i === at ? byte ^ 0x80 : byte));
      await expect(hpkeOpen({ ...opening, sealed: { ...sealed, ciphertext } })).rejects.toMatchObject(
        refused,
      );
    }
    const other = await generateEncryptionKeyPair();
    await expect(hpkeOpen({ ...opening, recipientPrivateKey: other.privateKey })).rejects.toMatchObject(
      refused,
    );
    await expect(hpkeOpen({ ...opening, info: hex('02') })).rejects.toMatchObject(refused);
    await expect(hpkeOpen({ ...opening, aad: hex('01') })).rejects.toMatchObject(refused);
  });

  it.each([
    ['of wrong length', new Uint8Array(31)],
    ['of low order', new Uint8Array(32)],
  ])('refuse to seal to a public key %s', async (_, recipientPublicKey) => {
    await expect(
      hpkeSeal({ recipientPublicKey, info: hex(''), aad: hex(''), plaintext: hex('01') }),
    ).rejects.toMatchObject({ reason: 'malformed' });
  });
});
