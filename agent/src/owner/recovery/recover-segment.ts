// The recovery key of a segment: tried while all is well, and used on the day when all agents of a segment are lost.
import { RecoveredKeysSchema, SegmentRecoverySchema } from '@opsconductor/protocol';
import {
  decodeBase64,
  encodeBase64,
  publicKeyBytes,
  type Roster,
  rosterSegmentKey,
  SealingError,
  unwrapSegmentKey,
  wrapSegmentKey,
} from '@opsconductor/protocol/sealing';
import { AgentError } from '../../agent-error.ts';
import { typedCommand } from '../../command-line/typed-command.ts';
import type { Api } from '../../start-run/api-client.ts';
import type { OwnerKey } from '../keys/key-file.ts';
import type { OwnedState } from '../segments/owned-segment.ts';

export interface OpenedGeneration {
  generation: number;
  /** The segment's private key; undefined if it did not open. */
  privateKey: Uint8Array | undefined;
  /** The result, in words for a person. */
  said: string;
}

/**
 * Opens every generation of the segment key with the recovery key. A key that opens is the one that the roster names.
 *
 * @throws {AgentError} if the roster names another recovery key, or none.
 */
export async function openGenerations(
  api: Api,
  owned: OwnedState,
  recovery: OwnerKey,
): Promise<OpenedGeneration[]> {
  const { known } = owned;
  const roster = rosterWith(owned, recovery);
  const { wraps } = await api.get(recoveryPath(known.segmentId), SegmentRecoverySchema);
  const opened: OpenedGeneration[] = [];
  for (const { generation } of roster.segmentKeys) {
    const wrapped = wraps.filter((wrap) => wrap.generation === generation).map((wrap) => wrap.wrapped);
    opened.push(await openOne(roster, generation, recovery.privateKey, wrapped));
  }
  return opened;
}

/**
 * Gives the opened keys to an agent that the roster names. Returns the generations that the agent did not have.
 *
 * @throws {AgentError}
 */
export async function giveTo(
  api: Api,
  { known, roster }: OwnedState,
  opened: readonly OpenedGeneration[],
  agentName: string,
): Promise<number[]> {
  const member = roster?.agents.find(({ name }) => name === agentName);
  if (roster === undefined || member === undefined) {
    throw new AgentError(
      `The roster of segment ${known.segmentName} names no agent ${agentName}.`,
      `Admit it first: ${typedCommand()} segment roster sign, with --admit.`,
    );
  }
  const recipientPublicKey = decodeBase64(member.encryptionKey, publicKeyBytes, 'encryptionKey');
  const wraps: { generation: number; wrapped: string }[] = [];
  for (const { generation, privateKey } of opened) {
    if (privateKey === undefined) continue;
    const binding = { ...bindingOf(roster, generation), recipient: member.agentId };
    const wrapped = await wrapSegmentKey({ segmentPrivateKey: privateKey, recipientPublicKey, binding });
    wraps.push({ generation, wrapped });
  }
  if (wraps.length === 0) {
    throw new AgentError(
      'No generation of the segment key opened.',
      'Seal the credentials of the segment again.',
    );
  }
  const request = { agentId: member.agentId, wraps };
  return (await api.post(recoveryPath(known.segmentId), request, RecoveredKeysSchema)).stored;
}

function rosterWith({ known, roster }: OwnedState, recovery: OwnerKey): Roster {
  const fix = `Name it in the roster: ${typedCommand()} segment roster sign, with --recovery.`;
  if (roster?.recoveryKey === undefined) {
    throw new AgentError(`The roster of segment ${known.segmentName} names no recovery key.`, fix);
  }
  if (roster.recoveryKey === encodeBase64(recovery.publicKey)) return roster;
  throw new AgentError(`The roster of segment ${known.segmentName} names another recovery key.`, fix);
}

async function openOne(
  roster: Roster,
  generation: number,
  recipientPrivateKey: Uint8Array,
  wraps: readonly string[],
): Promise<OpenedGeneration> {
  if (wraps.length === 0) {
    const said =
      'no agent has wrapped it for this key yet: an agent that has it does so while it is connected';
    return { generation, privateKey: undefined, said };
  }
  const binding = { ...bindingOf(roster, generation), recipient: 'recovery' as const };
  let problem = '';
  // Each agent has made one. One that an agent has made wrong is no reason to do without those of the others.
  for (const wrapped of wraps) {
    try {
      const privateKey = await unwrapSegmentKey({ recipientPrivateKey, wrapped, binding });
      return { generation, privateKey, said: 'opens, and is the key that the roster names' };
    } catch (error) {
      if (!(error instanceof SealingError)) throw error;
      problem = error.message;
    }
  }
  return { generation, privateKey: undefined, said: `does not open: ${problem}` };
}

function bindingOf(roster: Roster, generation: number) {
  const { installationId, segmentId } = roster;
  const segmentPublicKey = rosterSegmentKey(roster, generation);
  if (segmentPublicKey === undefined) throw new Error(`the roster names no generation ${generation}`);
  return { installationId, segmentId, generation, segmentPublicKey };
}

function recoveryPath(segmentId: number): string {
  return `/api/v1/segments/${segmentId}/recovery`;
}
