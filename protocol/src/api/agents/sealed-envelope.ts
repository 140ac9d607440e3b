import { Type } from 'typebox';

/** Data sealed to one generation of a segment's key (sealing/secrets/envelope.ts); bytes are base64. */
export const SealedEnvelopeSchema = Type.Object({
  v: Type.Literal(1),
  generation: Type.Integer({ minimum: 1, maximum: 2_147_483_647 }),
  enc: Type.String({ maxLength: 128 }),
  wrappedKey: Type.String({ maxLength: 256 }),
  nonce: Type.String({ maxLength: 64 }),
  ciphertext: Type.String({ maxLength: 200_000 }),
});
