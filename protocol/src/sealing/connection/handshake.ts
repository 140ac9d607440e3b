// The connect handshake: both sides sign a transcript of everything that was said, each in its own role.
import { noVersionInCommon } from '../../agent/versions.ts';
import { encodeBase64, encodeFields } from '../encoding.ts';
import { sign, verifyBase64 } from '../keys.ts';
import { SealingError } from '../sealing-error.ts';

const handshakeNonceBytes = 32;
export type HandshakeRole = 'agent' | 'server';

export interface Handshake {
  /** 32 random bytes, fresh for this connection and used once. */
  serverNonce: Uint8Array;
  /** 32 random bytes, fresh for this connection. */
  agentNonce: Uint8Array;
  installationId: string;
  serverId: string;
  agentId: number;
  segmentId: number;
  /** Protocol versions as each side sent them, in its own order. */
  offeredByServer: readonly number[];
  offeredByAgent: readonly number[];
  /** `noVersionInCommon` if there is none. */
  chosen: number;
}

/**
 * Returns the bytes that both sides sign, each in its own role. They contain both offers, so that nobody in between can
 * shorten one to force an older version.
 *
 * @throws {SealingError} `malformed` for a nonce that is not 32 bytes, for a chosen version that a side did not offer, and
 * for `noVersionInCommon` although there is one.
 */
export function handshakeTranscript(handshake: Handshake): Uint8Array<ArrayBuffer> {
  const { serverNonce, agentNonce, offeredByServer, offeredByAgent, chosen } = handshake;
  if (serverNonce.length !== handshakeNonceBytes || agentNonce.length !== handshakeNonceBytes) {
    throw new SealingError('malformed', `Handshake nonces have ${handshakeNonceBytes} bytes`);
  }
  const isPossible =
    chosen === noVersionInCommon
      ? !offeredByServer.some((version) => offeredByAgent.includes(version))
      : offeredByServer.includes(chosen) && offeredByAgent.includes(chosen);
  if (!isPossible) {
    throw new SealingError('malformed', `Protocol version ${chosen} was not offered by both sides`);
  }
  return encodeFields('handshake', [
    serverNonce,
    agentNonce,
    handshake.installationId,
    handshake.serverId,
    handshake.agentId,
    handshake.segmentId,
    offeredByServer,
    offeredByAgent,
    chosen,
  ]);
}

/** Signs a transcript in a role. Returns base64. */
export async function signHandshake(
  role: HandshakeRole,
  privateKey: Uint8Array,
  transcript: Uint8Array,
): Promise<string> {
  return encodeBase64(await sign(privateKey, inRole(role, transcript)));
}

/** Whether this is the key's signature of the transcript in that role. A signature in the other role doesn't count. */
export function verifyHandshake(
  role: HandshakeRole,
  publicKey: Uint8Array,
  transcript: Uint8Array,
  signature: string,
): Promise<boolean> {
  return verifyBase64(publicKey, inRole(role, transcript), signature);
}

function inRole(role: HandshakeRole, transcript: Uint8Array): Uint8Array {
  return encodeFields(`handshake-${role}`, [transcript]);
}
