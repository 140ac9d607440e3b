// Both sides prove who they are before anything else is said (docs/protocol.md, "Handshake").
import { randomBytes } from 'node:crypto';
import {
  closeCodes,
  limits,
  noVersionInCommon,
  protocolVersions,
  type ServerMessageOf,
} from '@opsconductor/protocol';
import {
  decodeBase64,
  handshakeTranscript,
  signHandshake,
  verifyGeneration,
  verifyHandshake,
} from '@opsconductor/protocol/sealing';
import { readGeneration, saveGeneration } from '../identity/connect-generation.ts';
import type { Identity } from '../identity/identity.ts';
import type { MessageSocket } from './message-socket.ts';

export class HandshakeError extends Error {
  override readonly name = 'HandshakeError';
  readonly closeCode: number;

  constructor(message: string, closeCode: number = closeCodes.unauthenticated) {
    super(message);
    this.closeCode = closeCode;
  }
}

export interface HandshakeOptions {
  identity: Identity;
  /** The key by which this agent proves who it is. */
  signingPrivateKey: Uint8Array;
  generationPath: string;
  /** Called just before `authenticate` is sent: lease time counts from there. */
  onAsked(): void;
}

/**
 * Proves this agent to the server and the server to this agent, up to a verified `welcome` whose generation is on disk.
 * The caller sends `resume` next.
 *
 * @throws {HandshakeError} if the server is not the pinned one or shares no protocol version.
 */
export async function performHandshake(
  socket: MessageSocket,
  { identity, signingPrivateKey, generationPath, onAsked }: HandshakeOptions,
): Promise<ServerMessageOf<'welcome'>> {
  const challenge = await next(socket, 'challenge');
  const { installationId, agentId, segmentId, serverKey } = identity;
  if (challenge.installationId !== installationId) {
    throw new HandshakeError(
      `The server belongs to installation ${challenge.installationId}, this agent to ${installationId}.`,
    );
  }
  const common = protocolVersions.filter((version) => challenge.versions.includes(version));
  const chosen = common.length === 0 ? noVersionInCommon : Math.max(...common);
  const agentNonce = randomBytes(32);
  const transcript = handshakeTranscript({
    serverNonce: decodeBase64(challenge.serverNonce, 32, 'serverNonce'),
    agentNonce,
    installationId,
    serverId: challenge.serverId,
    agentId,
    segmentId,
    offeredByServer: challenge.versions,
    offeredByAgent: protocolVersions,
    chosen,
  });
  const held = await readGeneration(generationPath);
  const signature = await signHandshake('agent', signingPrivateKey, transcript);
  onAsked();
  socket.send({
    type: 'authenticate',
    agentId,
    segmentId,
    agentNonce: agentNonce.toString('base64'),
    versions: [...protocolVersions],
    chosenVersion: chosen,
    signature,
    generation: held.generation,
    generationSignature: held.signature,
  });
  if (chosen === noVersionInCommon) {
    // The server refuses the agent; the signature lets it show which agent, and why.
    await next(socket, 'welcome').catch(() => {});
    throw new HandshakeError(
      `The server speaks protocol versions ${challenge.versions.join(', ')}, this agent ${protocolVersions.join(', ')}: update the older of the two.`,
      closeCodes.noCommonVersion,
    );
  }
  const welcome = await next(socket, 'welcome', challenge.serverNonce);
  if (
    welcome.chosenVersion !== chosen ||
    !(await verifyHandshake('server', serverKey, transcript, welcome.signature))
  ) {
    throw new HandshakeError('The server could not prove that it is the one this agent was enrolled with.');
  }
  const { generation, generationSignature } = welcome;
  const genuine = await verifyGeneration(
    serverKey,
    { installationId, agentId, generation },
    generationSignature,
  );
  if (!genuine || generation < held.generation) {
    throw new HandshakeError(
      `The connect generation ${generation} is not a genuine successor of ${held.generation}.`,
    );
  }
  await saveGeneration(generationPath, { generation, signature: generationSignature });
  return welcome;
}

/**
 * @param answered nonce of a challenge that was answered: that it comes once more, because something on the way has
 * repeated it, is no fault
 */
async function next<T extends 'challenge' | 'welcome'>(
  socket: MessageSocket,
  type: T,
  answered?: string,
): Promise<ServerMessageOf<T>> {
  const wanted = { timeoutMs: limits.handshakePatienceMs, maxBytes: limits.maxHandshakeFrameBytes };
  let message = await socket.next(wanted);
  if (message.type === 'challenge' && message.serverNonce === answered) message = await socket.next(wanted);
  if (message.type !== type) {
    throw new HandshakeError(`Expected ${type}, got ${message.type}.`, closeCodes.invalidMessage);
  }
  return message as ServerMessageOf<T>;
}
