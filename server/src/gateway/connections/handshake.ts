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
import { recordAudit } from '../../audit/record-audit.ts';
import { formerKeys, noteOldKey } from '../../store/agents/agent-keys.ts';
import {
  type AgentIdentityRow,
  existingAgents,
  findAgentKey,
  lockAgents,
  type NewSession,
  openSessions,
  quarantineAgent,
} from '../../store/agents/agent-sessions.ts';
import type { Sql, Tx } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';

/** Room for the reason in a WebSocket close frame, next to its code (RFC 6455 section 5.5.1). */
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
      /** Whether it was that agent itself: its key signed for this connection. */
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

const identityNotProven = {
  ok: false,
  refusal: 'unauthenticated',
  reason: 'identity not proven',
  isProven: false,
} as const satisfies Authenticated;

/**
 * Its agent has given it up, and may have connected again since: a session for it would end that one, or have the agent
 * taken for a copy.
 */
const connectionGone = {
  ok: false,
  refusal: 'unauthenticated',
  reason: 'the connection was closed before it was verified',
  isProven: false,
} as const satisfies Authenticated;

export interface HandshakeDeps {
  sql: Sql;
  identity: ServerIdentity;
  settings: HandshakeSettings;
}

/** What was sent on a connection that is to become an agent's. */
export interface Opening {
  challenge: ServerMessageOf<'challenge'>;
  message: AgentMessageOf<'authenticate'>;
  address: string;
  /** Whether the connection is still there. */
  isOpen(): boolean;
}

/**
 * Verifies connecting agents and opens their sessions; the newest session of an agent wins. One transaction serves
 * many, because a site that was cut off comes back as a whole.
 */
export async function authenticateAll(
  deps: HandshakeDeps,
  openings: readonly Opening[],
): Promise<Authenticated[]> {
  const results = new Map<Opening, Authenticated>();
  const understood: Opening[] = [];
  for (const opening of openings) {
    const refused = await refusedVersions(deps, opening);
    if (refused === undefined) understood.push(opening);
    else results.set(opening, refused);
  }
  // With several agents, rows that others have locked are skipped, and waited for one by one afterwards: waiting for a
  // row while holding others could block those who wait for them.
  const rest = understood.length === 1 ? understood : [];
  if (understood.length > 1) {
    const { done, left } = await openSessionsOf(deps, understood, { wait: false });
    for (const [opening, result] of done) results.set(opening, result);
    rest.push(...left);
  }
  for (const opening of rest) {
    const { done } = await openSessionsOf(deps, [opening], { wait: true });
    results.set(opening, done.get(opening) ?? identityNotProven);
  }
  return openings.map((opening) => results.get(opening) ?? identityNotProven);
}

async function refusedVersions(deps: HandshakeDeps, opening: Opening): Promise<Authenticated | undefined> {
  const { challenge, message } = opening;
  const common = commonVersion(opening);
  if (common !== undefined && message.chosenVersion === common) return undefined;
  const said = `the server speaks ${challenge.versions.join(', ')}, the agent ${message.versions.join(', ')}`;
  return {
    ok: false,
    refusal: 'noCommonVersion',
    reason: said.slice(0, maxCloseReasonBytes),
    isProven: await isFromAgent(deps, challenge, message),
  };
}

function commonVersion({ challenge, message }: Opening): number | undefined {
  const common = message.versions.filter((version) => challenge.versions.includes(version));
  return common.length === 0 ? undefined : Math.max(...common);
}

/**
 * Answers openings whose agents' rows could be locked, and those whose agents don't exist. The others are returned as
 * `left`.
 */
async function openSessionsOf(
  { sql, identity, settings }: HandshakeDeps,
  openings: readonly Opening[],
  { wait }: { wait: boolean },
): Promise<{ done: Map<Opening, Authenticated>; left: Opening[] }> {
  return inTransaction(sql, async (tx) => {
    const ids = [...new Set(openings.map(({ message }) => message.agentId))];
    const agents = new Map((await lockAgents(tx, ids, { wait })).map((agent) => [agent.id, agent]));
    const missing = ids.filter((id) => !agents.has(id));
    const busy = wait || missing.length === 0 ? new Set() : await existingAgents(tx, missing);
    const done = new Map<Opening, Authenticated>();
    const sessions = new Map<number, NewSession>();
    for (const opening of openings) {
      const agent = agents.get(opening.message.agentId);
      if (agent === undefined) {
        if (!busy.has(opening.message.agentId)) done.set(opening, identityNotProven);
        continue;
      }
      // Asked only now, as the row may have been waited for.
      const result = opening.isOpen()
        ? await authenticate(tx, { identity, settings }, agent, opening)
        : connectionGone;
      done.set(opening, result);
      if (!result.ok) {
        // A copy in the same batch: the agent gets no session, whichever of the two opened it.
        if (agent.state === 'quarantined' && sessions.delete(agent.id)) {
          for (const [earlier, { ok }] of done)
            if (ok && earlier.message.agentId === agent.id) done.set(earlier, result);
        }
        continue;
      }
      const { sessionNumber, welcome } = result;
      // An agent that has connected twice in this batch comes up here again.
      Object.assign(agent, { sessionNumber, generation: welcome.generation, generationAcked: false });
      const { generation } = welcome;
      sessions.set(agent.id, { agentId: agent.id, sessionNumber, generation, address: opening.address });
    }
    await openSessions(tx, [...sessions.values()], { serverId: identity.serverId, ...settings });
    return { done, left: openings.filter((opening) => !done.has(opening)) };
  });
}

/** Checks that this is the agent whose row is locked and that it may connect. If so, returns its new session. */
async function authenticate(
  tx: Tx,
  { identity, settings }: Omit<HandshakeDeps, 'sql'>,
  agent: AgentIdentityRow,
  { challenge, message, address }: Opening,
): Promise<Authenticated> {
  if (agent.segmentId !== message.segmentId) return identityNotProven;
  const transcript = transcriptOf(identity, challenge, message);
  const isSignedBy = (key: Uint8Array) => verifyHandshake('agent', key, transcript, message.signature);
  const isKnown = await isSignedBy(agent.signingKey);
  const isFromBefore =
    !isKnown && agent.previousSigningKey !== null && (await isSignedBy(agent.previousSigningKey));
  // Only agents that were let in before have a signed generation, so strangers cost no more than these two checks.
  if (!isKnown && agent.previousSigningKey === null) return identityNotProven;
  const held = {
    installationId: identity.installationId,
    agentId: agent.id,
    generation: message.generation,
  };
  if (!(await verifyGeneration(identity.serverKey, held, message.generationSignature)))
    return identityNotProven;
  const isFormer = !isKnown && !isFromBefore && (await isOneOf(await formerKeys(tx, agent.id), isSignedBy));
  if (!isKnown && !isFromBefore && !isFormer) return identityNotProven;
  if (agent.state !== 'active') {
    return {
      ok: false,
      refusal: agent.state === 'quarantined' ? 'quarantined' : 'unauthenticated',
      reason: `agent is ${agent.state}`,
      isProven: true,
    };
  }
  // An agent discards its old keys once the new ones are known, so it is never two changes behind: this is a copy.
  if (isFormer) return quarantine(tx, agent, message.generation, address, { key: 'former' });
  if (isFromBefore) return refuseOldKey(tx, agent, message.generation, address);
  if (agent.generation >= 0 && message.generation > agent.generation) {
    // This server signed that generation, so the database knew it once.
    return {
      ok: false,
      refusal: 'unauthenticated',
      reason: 'the database was set back: run "npm run restored" on the server',
      isProven: true,
    };
  }
  if (!isNewest(agent, message.generation)) return quarantine(tx, agent, message.generation, address);
  const generation = message.generation + 1;
  const sessionNumber = agent.sessionNumber + 1;
  return {
    ok: true,
    agentId: agent.id,
    name: agent.name,
    segmentId: agent.segmentId,
    sessionNumber,
    welcome: {
      type: 'welcome',
      chosenVersion: message.chosenVersion,
      signature: await signHandshake('server', identity.serverPrivateKey, transcript),
      sessionNumber,
      generation,
      generationSignature: await signGeneration(identity.serverPrivateKey, { ...held, generation }),
      ...settings,
      capabilities: [...serverCapabilities],
      stepReasons: [...stepReasons],
    },
  };
}

async function isOneOf(
  keys: readonly Uint8Array[],
  isSignedBy: (key: Uint8Array) => Promise<boolean>,
): Promise<boolean> {
  for (const key of keys) if (await isSignedBy(key)) return true;
  return false;
}

/**
 * Refuses an agent that still signs with its previous key. If the answer to its new keys was lost, it is the agent
 * itself, which then tries those. With an older generation it is one of two copies, and the other one has made the new
 * keys; which of the two is the right one isn't known.
 */
async function refuseOldKey(
  tx: Tx,
  agent: AgentIdentityRow,
  presented: number,
  address: string,
): Promise<Authenticated> {
  const isOlder = agent.generation >= 0 && presented < agent.generation;
  if (isOlder && !isNewest(agent, presented)) return quarantine(tx, agent, presented, address);
  if (await noteOldKey(tx, agent.id)) {
    await recordAudit(tx, {
      actor: { kind: 'agent', id: agent.id, name: agent.name },
      action: 'agent.old_key_refused',
      object: { kind: 'agent', id: agent.id },
      scope: { segmentId: agent.segmentId },
      detail: { name: agent.name, address },
    });
  }
  return { ok: false, refusal: 'unauthenticated', reason: 'the key was replaced', isProven: true };
}

async function quarantine(
  tx: Tx,
  agent: AgentIdentityRow,
  presented: number,
  address: string,
  found: { key?: 'former' } = {},
): Promise<Authenticated> {
  await quarantineAgent(tx, agent.id);
  await recordAudit(tx, {
    actor: { kind: 'agent', id: agent.id, name: agent.name },
    action: 'agent.quarantined',
    object: { kind: 'agent', id: agent.id },
    scope: { segmentId: agent.segmentId },
    detail: { presented, newest: agent.generation, address, ...found },
  });
  agent.state = 'quarantined';
  return {
    ok: false,
    refusal: 'quarantined',
    reason: 'a copy of this agent has connected',
    isProven: true,
  };
}

/** Whether an agent that has no version in common with this server is who it claims to be. */
async function isFromAgent(
  { sql, identity }: HandshakeDeps,
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

/** Returns what both sides sign. It includes the version that the agent chose. */
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
 * Accepts the newest generation, and the one before it while the newest isn't acknowledged, as its `welcome` may have
 * been lost on the way. Anything older means that two copies of the agent's disk are in use. After a restore the stored
 * number is negative and encodes the lowest generation to accept (`admitNewerGenerations`).
 */
function isNewest(agent: { generation: number; generationAcked: boolean }, presented: number): boolean {
  if (agent.generation < 0) return presented >= -1 - agent.generation;
  return presented === agent.generation || (!agent.generationAcked && presented === agent.generation - 1);
}
