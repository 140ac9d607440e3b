// The fingerprint that an owner compares before admitting an agent: the one shown on the agent's machine with the one
// computed here.
import { encodeBase64, encodeFields } from '../encoding.ts';

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
 * Returns `SHA256:` and unpadded base64, over both keys of an agent and the root that it pinned. An agent that was
 * tricked into pinning a different root shows a different fingerprint, so an owner who compares them never admits an
 * agent that would believe somebody else's roster.
 */
export async function agentFingerprint(keys: AgentKeys): Promise<string> {
  const { installationId, segmentId, segmentRoot, signingKey, encryptionKey } = keys;
  const fields = [installationId, segmentId, segmentRoot, signingKey, encryptionKey];
  const digest = await crypto.subtle.digest('SHA-256', encodeFields('agent-fingerprint', fields));
  return `SHA256:${encodeBase64(new Uint8Array(digest)).replaceAll('=', '')}`;
}
