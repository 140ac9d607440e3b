// The server's side of the connect handshake: a fresh nonce, one signed transcript, and a new session and generation.
import { randomBytes } from 'node:crypto';
import {
  type AgentMessageOf,
  noVersionInCommon,
  protocolVersions,
  type ServerMessageOf,
  serverCapabilities,
  stepReasons,
} from '@opsconductor/protocol';
import {
  decodeBase64,
  handshakeTranscript,
  signGeneration,
  signHandshake,
  verifyGeneration,
  verifyHandshake,
} from '@opsconductor/protocol/sealing';
import { recordAudit } from '../audit/record-audit.ts';
import { findAgentKey, lockAgent, openSession, quarantineAgent } from '../store/agent-sessions.ts';
import type { Sql } from '../store/connection.ts';
import { inTransaction } from '../store/transaction.ts';

/** What a WebSocket close frame holds beside its code (RFC 6455, 5.5.1). */
const maxCloseReasonBytes = 123;

export interface ServerIdentity {
  installationId: string;
  serverId: string;
  serverKey: Uint8Array;
  serverPrivateKey: Uint8Array;
}

export interface HandshakeSettings {
  heartbeatIntervalMs: number;
  leaseTtlMs: number;
}

export type Authenticated =
  | {
      ok: true;
      agentId: number;
      name: string;
      segmentId: number;
      sessionNumber: number;
      welcome: ServerMessageOf<'welcome'>;
    }
  | {
      ok: false;
      refusal: 'unauthenticated' | 'quarantined' | 'noCommonVersion';
      reason: string;
      /** It was that agent itself: its key signed for this connection. */
      isProven: boolean;
    };

export function newChallenge(identity: ServerIdentity): ServerMessageOf<'challenge'> {
  return {
    type: 'challenge',
    serverNonce: randomBytes(32).toString('base64'),
    installationId: identity.installationId,
    serverId: identity.serverId,
    versions: [...protocolVersions],
  };
}

/** Verifies who connects, and opens its session: the newest one wins. */
export async function authenticate(
  deps: { sql: Sql; identity: ServerIdentity; settings: HandshakeSettings },
  challenge: ServerMessageOf<'challenge'>,
  message: AgentMessageOf<'authenticate'>,
  address: string,
): Promise<Authenticated> {
  const { identity } = deps;
  const common = Math.max(...message.versions.filter((version) => challenge.versions.includes(version)));
  if (!Number.isFinite(common) || message.chosenVersion !== common) {
    return {
      ok: false,
      refusal: 'noCommonVersion',
      reason:
        `the server speaks ${challenge.versions.join(', ')}, the agent ${message.versions.join(', ')}`.slice(
          0,
          maxCloseReasonBytes,
        ),
      isProven: await isFromAgent(deps, challenge, message),
    };
  }
  const transcript = transcriptOf(identity, challenge, message);
  const refused = {
    ok: false,
    refusal: 'unauthenticated',
    reason: 'identity not proven',
    isProven: false,
  } as const;
  return inTransaction(deps.sql, async (tx): Promise<Authenticated> => {
    const agent = await lockAgent(tx, message.agentId);
    if (agent === undefined || agent.segmentId !== message.segmentId) return refused;
    if (!(await verifyHandshake('agent', agent.signingKey, transcript, message.signature))) return refused;
    if (agent.state !== 'active') {
      return {
        ok: false,
        refusal: agent.state === 'quarantined' ? 'quarantined' : 'unauthenticated',
        reason: `agent is ${agent.state}`,
        isProven: true,
      };
    }
    const held = {
      installationId: identity.installationId,
      agentId: agent.id,
      generation: message.generation,
    };
    if (!(await verifyGeneration(identity.serverKey, held, message.generationSignature))) return refused;
    if (agent.generation >= 0 && message.generation > agent.generation) {
      // We signed it, so the database knew it once.
      return {
        ok: false,
        refusal: 'unauthenticated',
        reason: 'the database was set back: see "After a restore" in docs/operations.md',
        isProven: true,
      };
    }
    if (!isNewest(agent, message.generation)) {
      await quarantineAgent(tx, agent.id);
      await recordAudit(tx, {
        actor: { kind: 'agent', id: agent.id, name: agent.name },
        action: 'agent.quarantined',
        object: { kind: 'agent', id: agent.id },
        scope: { segmentId: agent.segmentId },
        detail: { presented: message.generation, newest: agent.generation, address },
      });
      return {
        ok: false,
        refusal: 'quarantined',
        reason: 'a copy of this agent has connected',
        isProven: true,
      };
    }
    const generation = message.generation + 1;
    const sessionNumber = agent.sessionNumber + 1;
    await openSession(tx, {
      agentId: agent.id,
      sessionNumber,
      generation,
      serverId: identity.serverId,
      leaseTtlMs: deps.settings.leaseTtlMs,
      address,
    });
    const welcome: ServerMessageOf<'welcome'> = {
      type: 'welcome',
      chosenVersion: common,
      signature: await signHandshake('server', identity.serverPrivateKey, transcript),
      sessionNumber,
      generation,
      generationSignature: await signGeneration(identity.serverPrivateKey, { ...held, generation }),
      ...deps.settings,
      capabilities: [...serverCapabilities],
      stepReasons: [...stepReasons],
    };
    return {
      ok: true,
      agentId: agent.id,
      name: agent.name,
      segmentId: agent.segmentId,
      sessionNumber,
      welcome,
    };
  });
}

/** Whether an agent that shares no version with this server is who it says. */
async function isFromAgent(
  { sql, identity }: { sql: Sql; identity: ServerIdentity },
  challenge: ServerMessageOf<'challenge'>,
  message: AgentMessageOf<'authenticate'>,
): Promise<boolean> {
  const isHonest =
    message.chosenVersion === noVersionInCommon &&
    !message.versions.some((version) => challenge.versions.includes(version));
  if (!isHonest) return false;
  const agent = await findAgentKey(sql, message.agentId);
  if (agent === undefined || agent.segmentId !== message.segmentId) return false;
  return verifyHandshake(
    'agent',
    agent.signingKey,
    transcriptOf(identity, challenge, message),
    message.signature,
  );
}

/** Both sides sign this, with the version that the agent chose. */
function transcriptOf(
  identity: ServerIdentity,
  challenge: ServerMessageOf<'challenge'>,
  message: AgentMessageOf<'authenticate'>,
): Uint8Array {
  return handshakeTranscript({
    serverNonce: decodeBase64(challenge.serverNonce),
    agentNonce: decodeBase64(message.agentNonce),
    installationId: identity.installationId,
    serverId: identity.serverId,
    agentId: message.agentId,
    segmentId: message.segmentId,
    offeredByServer: challenge.versions,
    offeredByAgent: message.versions,
    chosen: message.chosenVersion,
  });
}

/**
 * The newest generation is accepted, and the one before while the newest isn't acknowledged: its `welcome` may have
 * been lost on the way. Anything older means that two copies of the agent's disk are in use. After a restore the number is
 * negative and says from which on any is taken (`admitNewerGenerations`).
 */
function isNewest(agent: { generation: number; generationAcked: boolean }, presented: number): boolean {
  if (agent.generation < 0) return presented >= -1 - agent.generation;
  return presented === agent.generation || (!agent.generationAcked && presented === agent.generation - 1);
}
