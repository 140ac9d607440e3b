// An agent replaces its own keys: signed by those that it has, so that nobody else can, and by the new. A managed root
// names them at once; where the owner holds the root they wait for a roster of theirs.
import type { AgentMessageOf } from '@opsconductor/protocol';
import {
  decodeBase64,
  encodeBase64,
  fingerprint,
  keyChangeStatement,
  publicKeyBytes,
  verifyBase64,
} from '@opsconductor/protocol/sealing';
import { recordAudit } from '../../audit/record-audit.ts';
import { AppError } from '../../errors.ts';
import {
  changeKeys,
  isFormerKey,
  mayChangeKeys,
  newKeysAreMade,
  putKeyChange,
} from '../../store/agents/agent-keys.ts';
import { lockAgent } from '../../store/agents/agent-sessions.ts';
import { type AgentRow, findAgent } from '../../store/agents/agents.ts';
import { lockSegment, notifySegmentChanged } from '../../store/agents/segments.ts';
import { type Tx, violatedConstraint } from '../../store/database/connection.ts';
import { inTransaction } from '../../store/database/transaction.ts';
import type { AgentDeps } from '../agents/disable-agent.ts';
import { publishRoster } from '../publish-roster.ts';
import { requireWrap } from '../segment-state.ts';

/**
 * Takes keys that an agent has made. The same again changes nothing, and where it has replaced its keys too often of late they
 * wait: it offers them again.
 *
 * @throws {AppError} `invalid` for keys that are not signed by those that it has and by the new, or that it has had before, or another agent has.
 */
export async function takeNewKeys(
  { sql, masterKey, installationId }: AgentDeps,
  agentId: number,
  offer: Omit<AgentMessageOf<'new_keys'>, 'type'>,
): Promise<void> {
  for (const { wrapped } of offer.wraps) requireWrap(wrapped);
  const change = {
    agentId,
    signingKey: Buffer.from(decodeBase64(offer.signingKey, publicKeyBytes, 'signingKey')),
    encryptionKey: Buffer.from(decodeBase64(offer.encryptionKey, publicKeyBytes, 'encryptionKey')),
    signature: offer.signature,
    wraps: offer.wraps,
  };
  try {
    await inTransaction(sql, async (tx) => {
      const found = await findAgent(tx, agentId);
      const segment = found && (await lockSegment(tx, found.segmentId));
      await lockAgent(tx, agentId);
      // Read again under the lock: somebody may have shut it out meanwhile.
      const agent = await findAgent(tx, agentId);
      if (segment === undefined || agent?.state !== 'active') return;
      if (agent.signingKey.equals(change.signingKey)) return;
      await refuseUnsigned(installationId, agent, change, offer.ownSignature);
      // Changes are counted by what they replace: two keys that take turns would count as two.
      if (await isFormerKey(tx, agentId, change.signingKey))
        throw new AppError('invalid', 'The agent has had this key before.');
      if (segment.rootMode === 'owner_held') {
        await newKeysAreMade(tx, agentId);
        if (!(await putKeyChange(tx, change))) return;
        await audit(tx, 'agent.keys_offered', agent, change.signingKey);
        await notifySegmentChanged(tx, segment.id);
        return;
      }
      // A copy that replaces keys in quick succession would have those forgotten that it was made of.
      if (!(await mayChangeKeys(tx, agentId))) return;
      await changeKeys(tx, change);
      await publishRoster(tx, { segment, installationId, masterKey });
      await audit(tx, 'agent.keys_changed', agent, change.signingKey);
    });
  } catch (cause) {
    const taken = ['agents_signing_key_key', 'agent_key_changes_signing_key_key'];
    if (!taken.includes(violatedConstraint(cause) ?? '')) throw cause;
    throw new AppError('invalid', 'Another agent has this key.', { cause });
  }
}

async function refuseUnsigned(
  installationId: string,
  { id: agentId, segmentId, signingKey: oldSigningKey }: AgentRow,
  { signingKey, encryptionKey, signature }: { signingKey: Buffer; encryptionKey: Buffer; signature: string },
  ownSignature: string,
): Promise<void> {
  const statement = keyChangeStatement({
    ...{ installationId, segmentId, agentId },
    ...{ oldSigningKey, signingKey, encryptionKey },
  });
  const isSigned =
    (await verifyBase64(oldSigningKey, statement, signature)) &&
    (await verifyBase64(signingKey, statement, ownSignature));
  if (!isSigned)
    throw new AppError(
      'invalid',
      'The new keys are not signed by the key that the agent has and by the new.',
    );
}

/** By their fingerprints; `by` is who has signed them into a roster, where that was not the agent's own doing. */
async function audit(
  tx: Tx,
  action: string,
  { id, name, segmentId, signingKey: before }: AgentRow,
  after: Buffer,
): Promise<void> {
  await recordAudit(tx, {
    actor: { kind: 'agent', id, name },
    action,
    object: { kind: 'agent', id },
    scope: { segmentId },
    detail: { name, from: await fingerprint(before), to: await fingerprint(after) },
  });
}

/** A change as the owner of the root is shown it. */
export function shownChange({
  agentId,
  signingKey,
  encryptionKey,
  signature,
}: {
  agentId: number;
  signingKey: Buffer;
  encryptionKey: Buffer;
  signature: string;
}) {
  return {
    agentId,
    signingKey: encodeBase64(signingKey),
    encryptionKey: encodeBase64(encryptionKey),
    signature,
  };
}
