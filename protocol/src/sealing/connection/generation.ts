// The connect generation: a number that the server signs and increments at each connect, and that the agent keeps on
// disk. An agent that presents an old one is a copy.
import { encodeBase64, encodeFields } from '../encoding.ts';
import { sign, verifyBase64 } from '../keys.ts';

export interface ConnectGeneration {
  installationId: string;
  agentId: number;
  /** 0 at enrollment. */
  generation: number;
}

/** Signs a connect generation with the server's Ed25519 key. Returns base64. */
export async function signGeneration(
  serverPrivateKey: Uint8Array,
  generation: ConnectGeneration,
): Promise<string> {
  return encodeBase64(await sign(serverPrivateKey, statement(generation)));
}

/**
 * Whether this is the server's signature for exactly this generation of this agent. `false` also for invalid base64.
 */
export async function verifyGeneration(
  serverPublicKey: Uint8Array,
  generation: ConnectGeneration,
  signature: string,
): Promise<boolean> {
  return verifyBase64(serverPublicKey, statement(generation), signature);
}

function statement({ installationId, agentId, generation }: ConnectGeneration): Uint8Array {
  return encodeFields('connect-generation', [installationId, agentId, generation]);
}
