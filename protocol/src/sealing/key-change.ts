// What an agent signs when it replaces its own keys: with those that it has, so that nobody else can, and with the new.
import { encodeFields } from './encoding.ts';

export interface KeyChange {
  installationId: string;
  segmentId: number;
  agentId: number;
  /** That it has been known by: of no use once that is another. Raw public keys, 32 bytes each. */
  oldSigningKey: Uint8Array;
  signingKey: Uint8Array;
  encryptionKey: Uint8Array;
}

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
