import type { SealedEnvelope } from '@opsconductor/protocol/sealing';

/** Whether two seals are the same to the letter: what was opened of one is kept only for that one. */
export function isSameSeal(one: SealedEnvelope, other: SealedEnvelope): boolean {
  return (
    one.generation === other.generation &&
    one.enc === other.enc &&
    one.wrappedKey === other.wrappedKey &&
    one.nonce === other.nonce &&
    one.ciphertext === other.ciphertext
  );
}
