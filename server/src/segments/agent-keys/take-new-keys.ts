// Replaces an agent's keys with new ones that it has made. They are signed by its previous keys, so that nobody else
// can do this, and by the new ones. With a managed root, a roster names them at once; with an owner-held one, they wait
// for a roster signed by the owner.
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
import { requireWraps } from '../segment-state.ts';

/**
 * Takes keys that an agent has made. The same keys again change nothing. If the agent has replaced its keys too often
 * lately, the new ones wait: it will offer them again.
 * @throws {AppError} `invalid` for keys that are not signed by both its current keys and the new ones, that it had
 * before, or that another agent has.
 */
export async function takeNewKeys(
  { sql, masterKey, installationId }: AgentDeps,
  agentId: number,
  offer: Omit<AgentMessageOf<'new_keys'>, 'type'>,
): Promise<void> {
  requireWraps(offer.wraps);
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
      // Read again under the lock: the agent may have been shut out meanwhile.
      const agent = await findAgent(tx, agentId);
      if (segment === undefined || agent?.state !== 'active') return;
      if (agent.signingKey.equals(change.signingKey)) return;
      await refuseUnsigned(installationId, agent, change, offer.ownSignature);
      // Changes are counted by the keys that they replace, so two keys that take turns would always count as two.
      if (await isFormerKey(tx, agentId, change.signingKey))
        throw new AppError('invalid', 'The agent has had this key before.');
      if (segment.rootMode === 'owner_held') {
        await newKeysAreMade(tx, agentId);
        if (!(await putKeyChange(tx, change))) return;
        await audit(tx, 'agent.keys_offered', agent, change.signingKey);
        await notifySegmentChanged(tx, segment.id);
        return;
      }
      // Otherwise a copy could replace keys in quick succession until the keys that it was copied with are forgotten.
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
    installationId,
    segmentId,
    agentId,
    oldSigningKey,
    signingKey,
    encryptionKey,
  });
  const isSigned =
    (await verifyBase64(oldSigningKey, statement, signature)) &&
    (await verifyBase64(signingKey, statement, ownSignature));
  if (!isSigned)
    throw new AppError(
      'invalid',
      'The new keys are not signed by both the agent’s current key and the new one.',
    );
}

/** The keys are named by their fingerprints. */
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

/** Returns a change as it is shown to the owner of the root. */
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
