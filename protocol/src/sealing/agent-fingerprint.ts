// What an owner compares before they admit an agent: what the agent's machine shows, and what its keys come to here.
import { encodeBase64, encodeFields } from './encoding.ts';

export interface AgentKeys {
  installationId: string;
  segmentId: number;
  /** The root that the agent pinned at enrollment. */
  segmentRoot: Uint8Array;
  /** Raw public keys, 32 bytes each. */
  signingKey: Uint8Array;
  encryptionKey: Uint8Array;
}

/**
 * `SHA256:` and unpadded base64, over both keys of an agent and what it pinned. An agent that was led to pin another root
 * shows another one, so an owner who compares admits none that would believe a roster of somebody else's.
 */
export async function agentFingerprint(keys: AgentKeys): Promise<string> {
  const { installationId, segmentId, segmentRoot, signingKey, encryptionKey } = keys;
  const fields = [installationId, segmentId, segmentRoot, signingKey, encryptionKey];
  const digest = await crypto.subtle.digest('SHA-256', encodeFields('agent-fingerprint', fields));
  return `SHA256:${encodeBase64(new Uint8Array(digest)).replaceAll('=', '')}`;
}
