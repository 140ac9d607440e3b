// What an agent signs to replace its own keys: with its old key, so that nobody else can do it, and with its new one.
import { encodeFields } from '../encoding.ts';

export interface KeyChange {
  installationId: string;
  segmentId: number;
  agentId: number;
  /**
   * The key that it has been known by; the statement becomes useless once that has changed. Raw public keys, 32 bytes
   * each.
   */
  oldSigningKey: Uint8Array;
  signingKey: Uint8Array;
  encryptionKey: Uint8Array;
}

/** Returns the bytes to be signed with both keys. */
export function keyChangeStatement(change: KeyChange): Uint8Array<ArrayBuffer> {
  const { installationId, segmentId, agentId, oldSigningKey, signingKey, encryptionKey } = change;
  return encodeFields('agent-key-change', [
    installationId,
    segmentId,
    agentId,
    oldSigningKey,
    signingKey,
    encryptionKey,
  ]);
}
