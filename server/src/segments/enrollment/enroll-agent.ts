// A new agent proves that it was invited (with the token) and that it holds its keys (with the signature), and learns
// its identity.
import { type EnrollRequest, type EnrollResponse, parseEnrollmentToken } from '@opsconductor/protocol';
import {
  decodeBase64,
  encodeBase64,
  enrollmentStatement,
  publicKeyBytes,
  signGeneration,
  verifyBase64,
} from '@opsconductor/protocol/sealing';
import { recordAudit } from '../../audit/record-audit.ts';
import type { MasterKey } from '../../credentials/at-rest/master-key.ts';
import { AppError } from '../../errors.ts';
import { findAgent, insertAgent, listSegmentAgents } from '../../store/agents/agents.ts';
import {
  type EnrollmentTokenRow,
  lockEnrollmentToken,
  markEnrollmentTokenUsed,
} from '../../store/agents/enrollment-tokens.ts';
import { lockSegment, type SegmentRow } from '../../store/agents/segments.ts';
import { type Sql, type Tx, violatedConstraint } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import { insertMadeFrom, shareMakingLock } from '../../store/people/made-with.ts';
import { refuseUnstorableText } from '../../validation/storable-text.ts';
import { publishRoster } from '../publish-roster.ts';
import type { PinnedIdentity } from '../segment-root.ts';
import { hashEnrollmentSecret } from './create-enrollment-token.ts';
import { enrollmentMaker } from './enrollment-maker.ts';

export interface EnrollmentDeps {
  sql: Sql;
  masterKey: MasterKey;
  identity: PinnedIdentity;
}

/** A roster can't name more. */
const maxAgentsPerSegment = 256;

interface NewAgent {
  name: string;
  signingKey: Buffer;
  encryptionKey: Buffer;
  version: string;
  platform: string;
  address: string;
}

/**
 * Enrolls an agent and consumes its token. If the request is repeated with the same token and keys, as after a lost
 * reply, the answer is the same until the agent has connected.
 * @throws {AppError} `unauthenticated` for a token that is unknown or expired, or whose maker may no longer enroll agents
 * there, or an invalid signature; `conflict` for a token that another agent used, or a name or key that is taken.
 */
export async function enrollAgent(
  deps: EnrollmentDeps,
  request: EnrollRequest,
  origin: { address: string; requestId: string },
): Promise<EnrollResponse> {
  refuseUnstorableText(request);
  const token = parseEnrollmentToken(request.token);
  if (token === undefined)
    throw unauthenticated('This is not an enrollment token; copy the whole token again.');
  const agent = { ...(await verifiedAgent(request)), address: origin.address };
  try {
    return await inTransaction(deps.sql, async (tx) => {
      // It may be ended with what it was made with, and what was enrolled until then is told of.
      await shareMakingLock(tx);
      const invitation = await lockEnrollmentToken(tx, hashEnrollmentSecret(token.secret));
      if (invitation === undefined) {
        throw unauthenticated(
          'This enrollment token is not known here. Make a new one on the segment’s page.',
        );
      }
      if (invitation.usedAt !== null) return await answerAgain(tx, deps, invitation, agent);
      if (invitation.expired) {
        throw unauthenticated('This enrollment token has expired. Make a new one on the segment’s page.');
      }
      const { admitsNobody } = await enrollmentMaker(tx, invitation.createdBy, invitation.segmentId);
      if (admitsNobody !== null) {
        throw unauthenticated(
          'The user who made this enrollment token may no longer enroll agents in its segment. Someone who may has to make a new one.',
        );
      }
      return await admit(tx, deps, invitation, agent, origin);
    });
  } catch (error) {
    throw takenError(error, request.name);
  }
}

/** @throws {AppError} `unauthenticated` if the signature is not from the key that the request names. */
async function verifiedAgent(request: EnrollRequest): Promise<Omit<NewAgent, 'address'>> {
  const signingKey = readKey(request.signingKey, 'signingKey');
  const encryptionKey = readKey(request.encryptionKey, 'encryptionKey');
  const statement = enrollmentStatement({
    token: request.token,
    name: request.name,
    signingKey,
    encryptionKey,
  });
  if (!(await verifyBase64(signingKey, statement, request.signature))) {
    throw unauthenticated('The enrollment is not signed by the key that it names.');
  }
  return {
    name: request.name,
    signingKey,
    encryptionKey,
    version: request.agentVersion,
    platform: request.platform,
  };
}

async function admit(
  tx: Tx,
  deps: EnrollmentDeps,
  invitation: EnrollmentTokenRow,
  agent: NewAgent,
  origin: { address: string; requestId: string },
): Promise<EnrollResponse> {
  const segment = await lockSegment(tx, invitation.segmentId);
  if (segment === undefined) throw unauthenticated('The segment of this enrollment token no longer exists.');
  const members = (await listSegmentAgents(tx, segment.id)).filter(({ state }) => state === 'active');
  if (members.length >= maxAgentsPerSegment) {
    throw new AppError(
      'conflict',
      `Segment ${segment.name} has ${maxAgentsPerSegment} agents, which is the maximum.`,
    );
  }
  const agentId = await insertAgent(tx, { segmentId: segment.id, ...agent });
  await markEnrollmentTokenUsed(tx, invitation.id, agentId);
  const made = { kind: 'agent', id: agentId, userId: null } as const;
  await insertMadeFrom(tx, made, { kind: 'enrollment_token', id: invitation.id });
  await publishRoster(tx, {
    segment,
    installationId: deps.identity.installationId,
    masterKey: deps.masterKey,
  });
  await recordAudit(tx, {
    actor: { kind: 'agent', id: agentId, name: agent.name },
    action: 'agent.enrolled',
    object: { kind: 'agent', id: agentId },
    scope: { segmentId: segment.id },
    detail: {
      segment: segment.name,
      tokenId: invitation.id,
      platform: agent.platform,
      version: agent.version,
    },
    origin,
  });
  return answer(deps, segment, { id: agentId, name: agent.name });
}

/** The token was used: the same agent may have lost the reply; anyone else must learn nothing more. */
async function answerAgain(
  tx: Tx,
  deps: EnrollmentDeps,
  invitation: EnrollmentTokenRow,
  agent: NewAgent,
): Promise<EnrollResponse> {
  const enrolled = invitation.usedByAgent === null ? undefined : await findAgent(tx, invitation.usedByAgent);
  const same =
    enrolled !== undefined &&
    enrolled.state === 'active' &&
    enrolled.signingKey.equals(agent.signingKey) &&
    enrolled.encryptionKey.equals(agent.encryptionKey);
  if (!same) {
    throw new AppError(
      'conflict',
      'This enrollment token was used already. Each is good for one agent; make a new one.',
    );
  }
  if (enrolled.sessionNumber > 0) {
    throw new AppError(
      'conflict',
      `Agent ${enrolled.name} is enrolled and has connected; it does not need to enroll again.`,
    );
  }
  const segment = await lockSegment(tx, enrolled.segmentId);
  if (segment === undefined) throw unauthenticated('The segment of this enrollment token no longer exists.');
  return answer(deps, segment, enrolled);
}

async function answer(
  { identity }: EnrollmentDeps,
  segment: SegmentRow,
  agent: { id: number; name: string },
): Promise<EnrollResponse> {
  const generation = 0;
  return {
    agentId: agent.id,
    agentName: agent.name,
    segmentId: segment.id,
    segmentName: segment.name,
    installationId: identity.installationId,
    serverKey: encodeBase64(identity.serverKey.publicKey),
    segmentRoot: encodeBase64(segment.rootKey),
    generation,
    generationSignature: await signGeneration(identity.serverKey.privateKey, {
      installationId: identity.installationId,
      agentId: agent.id,
      generation,
    }),
    makesSegmentKey: segment.keyGeneration === 0,
  };
}

function readKey(text: string, path: string): Buffer {
  try {
    return Buffer.from(decodeBase64(text, publicKeyBytes, path));
  } catch (cause) {
    const message = `Must be base64 of ${publicKeyBytes} bytes.`;
    throw new AppError('invalid', `${path}: ${message}`, { cause, details: [{ path, message }] });
  }
}

function takenError(error: unknown, name: string): unknown {
  const constraint = violatedConstraint(error);
  if (constraint === 'agents_name_key') {
    const message = `There is an agent named ${name} already; choose another name for this one.`;
    return new AppError('conflict', message, { cause: error, details: [{ path: 'name', message }] });
  }
  if (constraint === 'agents_signing_key_key') {
    const message = 'An agent with this key is already enrolled; let this one make its own keys.';
    return new AppError('conflict', message, { cause: error, details: [{ path: 'signingKey', message }] });
  }
  return error;
}

function unauthenticated(message: string): AppError {
  return new AppError('unauthenticated', message);
}
