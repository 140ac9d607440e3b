// A segment whose root is held here: compares what the server has with the newest roster that this machine knows.
import {
  agentNamePattern,
  SegmentListSchema,
  type SegmentRoster,
  SegmentRosterSchema,
  SegmentSchema,
} from '@opsconductor/protocol';
import {
  encodeBase64,
  fingerprint,
  type Roster,
  SealingError,
  type SignedRoster,
  signRoster,
  verifyRoster,
} from '@opsconductor/protocol/sealing';
import { AgentError } from '../../agent-error.ts';
import type { Api } from '../../start-run/api-client.ts';
import type { KnownRoot, KnownRoots } from '../../start-run/known-roots.ts';
import type { OwnerKey } from '../keys/key-file.ts';
import { goOnFromServer, namesOfRemoved, whatIsDropped, withRemoved } from './go-on-from-server.ts';
import { nextRoster, type RosterDecisions } from './next-roster.ts';

/**
 * Makes a segment whose root is this key, and saves what it is known by. If this key is already its root (a reply was
 * lost, or its owner made it on another machine), it is only saved.
 *
 * @throws {AgentError}
 */
export async function initSegment(
  api: Api,
  roots: KnownRoots,
  segment: { name: string; description?: string | undefined; rootPublicKey: Uint8Array },
): Promise<KnownRoot> {
  const { name, description, rootPublicKey } = segment;
  const ownerRoot = encodeBase64(rootPublicKey);
  const more = description === undefined ? {} : { description };
  const own = await fingerprint(rootPublicKey);
  const { items } = await api.get('/api/v1/segments', SegmentListSchema);
  const before = items.find((one) => one.name === name && one.rootFingerprint === own);
  const { id, rootFingerprint } =
    before ?? (await api.post('/api/v1/segments', { name, ownerRoot, ...more }, SegmentSchema));
  const state = await api.get(rosterPath(id), SegmentRosterSchema);
  if (state.root !== 'owner_held' || rootFingerprint !== own) {
    throw new AgentError(
      'The server made the segment with a root of its own.',
      'Update the server: it does not know segments whose root their owner holds.',
    );
  }
  const known = { installationId: state.installationId, segmentId: id, segmentName: name, rootFingerprint };
  // Keep the newest roster number seen, or an older roster could be shown again.
  if (!roots.has(known)) roots.put({ ...known, rosterNumber: 0 });
  await roots.save();
  return { ...known, rosterNumber: 0 };
}

export interface OwnedState {
  known: KnownRoot;
  /** What the server says; only `roster` is verified. */
  state: SegmentRoster;
  /** The newest roster that the root has signed: the server's or the one that is kept here. */
  roster: Roster | undefined;
  signed: SignedRoster | undefined;
  /** The newest roster that is kept here; `shown` is the server's. */
  held: Roster | undefined;
  shown: Roster | undefined;
  /** Generations of segment keys that the older of the two rosters names and the newest does not. */
  droppedGenerations: number[];
  /** The older of the two rosters, if there are two. */
  older: Roster | undefined;
  /** Names of agents that the older roster has removed and the newest names. */
  broughtBack: string[];
  /** Whether the server lacks the newest roster. */
  isBehind: boolean;
}

/** @throws {AgentError} if the server shows another root or a roster that the root did not sign. */
export async function readOwned(api: Api, known: KnownRoot, rootPublicKey: Uint8Array): Promise<OwnedState> {
  const state = await api.get(rosterPath(known.segmentId), SegmentRosterSchema);
  const own = await fingerprint(rootPublicKey);
  if (own !== known.rootFingerprint) {
    throw new AgentError(
      `The root of segment ${known.segmentName} is ${known.rootFingerprint}; this key is ${own}.`,
      'Name the file of the root that the segment was made with.',
    );
  }
  if (state.installationId !== known.installationId || state.rootPublicKey !== encodeBase64(rootPublicKey)) {
    throw new AgentError(
      `The server names another root of segment ${known.segmentName}, or is another installation.`,
      'Check the address. If it is right, stop until you know why: ask whoever runs the server.',
    );
  }
  refuseStrangeNames(state);
  const held = known.signed && (await verified(known, rootPublicKey, known.signed));
  const shown = state.roster === null ? undefined : await verified(known, rootPublicKey, state.roster);
  if (
    held !== undefined &&
    held.number === shown?.number &&
    known.signed?.payload !== state.roster?.payload
  ) {
    throw new AgentError(
      `There are two rosters ${held.number} of segment ${known.segmentName}: the server's is not the one that is kept here.`,
      'Somebody signs with a copy of this key. Agree on one machine to sign on, and copy its file of roots here.',
    );
  }
  const isBehind = (shown?.number ?? 0) < (held?.number ?? 0);
  const [roster, signed] = isBehind ? [held, known.signed] : [shown, state.roster ?? undefined];
  if ((roster?.number ?? 0) < known.rosterNumber) {
    throw new AgentError(
      `The server shows roster ${roster?.number ?? 0} of segment ${known.segmentName}; number ${known.rosterNumber} has been seen before.`,
      'Sign on the machine that signed that one, or copy its file of roots here.',
    );
  }
  const older = isBehind ? shown : held;
  const droppedGenerations = generationsMissing(roster, older);
  const broughtBack = namesOfRemoved(roster, older);
  return { known, state, roster, signed, held, shown, droppedGenerations, older, broughtBack, isBehind };
}

/** Names are told in commands for the owner to copy, on the machine that has the root. */
function refuseStrangeNames({ agents, seenNewer = [] }: SegmentRoster): void {
  const names = [...agents, ...seenNewer].map(({ name }) => name);
  const strange = names.find((name) => !new RegExp(agentNamePattern).test(name));
  if (strange === undefined) return;
  throw new AgentError(
    `The server names an agent ${JSON.stringify(strange)}, which is no name of an agent.`,
    'Stop until you know why: ask whoever runs the server.',
  );
}

/**
 * Keeps a newer roster of the server's, so that the server can't go back to an older one. It is not kept in place of one
 * that names a segment key, or removes an agent, that it does not: the owner has to be told that first.
 *
 * @throws {AgentError} if the file of roots can't be written.
 */
export async function keepSeen(roots: KnownRoots, owned: OwnedState): Promise<void> {
  const { known, roster, signed, held, older, droppedGenerations } = owned;
  if (roster === undefined || signed === undefined || roster.number <= (held?.number ?? 0)) return;
  const isRemovalLost = older !== undefined && withRemoved(roster, older) !== roster;
  if (droppedGenerations.length > 0 || owned.broughtBack.length > 0 || isRemovalLost) return;
  roots.put({ ...known, rosterNumber: roster.number, signed });
  await roots.save();
}

function generationsMissing(roster: Roster | undefined, older: Roster | undefined): number[] {
  const named = new Set(roster?.segmentKeys.map(({ publicKey }) => publicKey));
  const missing = (older?.segmentKeys ?? []).filter(({ publicKey }) => !named.has(publicKey));
  return missing.map(({ generation }) => generation);
}

export interface SignHow {
  /** Sign even if a segment key may be dropped permanently. */
  dropsLost?: boolean;
  /**
   * Continues from the server's roster of this number, if the server accepts none that is built on what was signed
   * here.
   */
  fromServer?: number | undefined;
}

interface Start {
  base: Roster | undefined;
  /** Names of members to remove, as the abandoned roster did. */
  remove: readonly string[];
  /** The roster that is kept here and is abandoned. */
  replaced?: Roster;
}

/**
 * Refuses to continue from a roster that the server would refuse, even with `dropsLost`: if it were kept here,
 * everything signed after it would be refused too.
 */
function startOf(
  { known, roster, held, shown, droppedGenerations, older, isBehind }: OwnedState,
  how: SignHow,
): Start {
  const { segmentName } = known;
  if (!isBehind || held === undefined || shown === undefined || droppedGenerations.length === 0) {
    if (how.fromServer === undefined)
      return { base: roster && older ? withRemoved(roster, older) : roster, remove: [] };
    throw new AgentError(
      `The roster of segment ${segmentName} that the server has is no reason to drop what is kept here.`,
      'Leave --from-server out. Nothing was signed.',
    );
  }
  const start = goOnFromServer(shown, held);
  if (how.fromServer === shown.number) return { ...start, replaced: held };
  const dropped = [
    ...whatIsDropped(start.base, shown, held),
    ...start.remove.map((name) => `removes agent ${name}, as roster ${held.number} does`),
  ];
  throw new AgentError(
    `Roster ${held.number} of segment ${segmentName}, which is kept here, does not name generation ${droppedGenerations.join(', ')} of the segment key; roster ${shown.number}, which the server has, does. The server accepts no roster that drops the key.`,
    `Two machines have signed, or a backup was restored. Sign on the machine that signed the other one, or with its file of roots. Nothing was signed. If neither is left: --from-server ${shown.number} signs a roster ${start.base.number + 1} based on it${dropped.length === 0 ? '' : ` that ${dropped.join('; ')}`}.`,
  );
}

/**
 * Another machine has signed without knowing that an agent was removed here. A hostile server can bring that about, by
 * showing it no roster that says so: the agent would get the next segment key.
 */
function refuseBroughtBack(
  { known, roster, older, broughtBack }: OwnedState,
  remove: readonly string[],
): void {
  const name = broughtBack.find((one) => !remove.includes(one));
  if (name === undefined) return;
  throw new AgentError(
    `Roster ${roster?.number} of segment ${known.segmentName} names agent ${name}, which roster ${older?.number} has removed.`,
    `Another machine has signed without knowing that. Remove it again: --remove ${name}. Nothing was signed.`,
  );
}

/** A segment key that the next roster does not name is lost permanently, with everything that is sealed to it. */
function refuseToDropKey({ known, roster, droppedGenerations }: OwnedState): void {
  if (droppedGenerations.length === 0) return;
  throw new AgentError(
    `Roster ${roster?.number ?? 0} of segment ${known.segmentName} does not name generation ${droppedGenerations.join(', ')} of the segment key, which an older one does: whatever is sealed to it would be lost permanently.`,
    `Two machines have signed, or a backup was restored. ${signThere}`,
  );
}

/** The same for a segment key that only a roster names which is not here. */
function refuseWhereSeenNewer(
  { known, state }: OwnedState,
  number: number,
  { remove }: RosterDecisions,
): void {
  const newer = state.seenNewer?.find(
    ({ name, rosterNumber }) => rosterNumber > number && !remove.includes(name),
  );
  if (newer === undefined) return;
  throw new AgentError(
    `Agent ${newer.name} says that it has seen roster ${newer.rosterNumber} of segment ${known.segmentName}; the newest one here is ${number}. A segment key that only that one names would be lost permanently, with whatever is sealed to it.`,
    `That roster was signed on another machine, or what the agent says is wrong. ${signThere}`,
  );
}

const signThere =
  'Sign on the machine that signed the other one, or with its file of roots. Nothing was signed. If neither is left: --drop-lost.';

/** What a roster is signed with, where it is kept, and the server that it is sent to. */
interface Signing {
  root: OwnerKey;
  roots: KnownRoots;
  api: Api;
}

/**
 * Signs the next roster, keeps it and sends it. It is kept first, so that if sending fails the next call sends it.
 *
 * @returns what was changed, in words for a person.
 * @throws {AgentError}
 */
export async function signNextRoster(
  { root, roots, api }: Signing,
  owned: OwnedState,
  given: RosterDecisions,
  how: SignHow = {},
): Promise<string[]> {
  const start = startOf(owned, how);
  const { base, replaced } = start;
  const decisions = { ...given, remove: [...given.remove, ...start.remove] };
  if (replaced === undefined) refuseBroughtBack(owned, decisions.remove);
  if (how.dropsLost !== true) {
    if (replaced === undefined) refuseToDropKey(owned);
    refuseWhereSeenNewer(owned, base?.number ?? 0, decisions);
  }
  const { known, state } = owned;
  const { installationId, segmentId } = known;
  const input = { installationId, segmentId, rootPublicKey: root.publicKey, base, state, decisions };
  const { roster, changes } = await nextRoster(input);
  const isNew = changes.length > 0 || replaced !== undefined;
  if (!isNew && !owned.isBehind) {
    await keepSeen(roots, owned);
    return [];
  }
  const signed = isNew ? await signRoster(root.privateKey, roster) : owned.signed;
  const { number } = isNew ? roster : (base ?? roster);
  if (signed === undefined) return [];
  roots.put({ ...known, rosterNumber: number, signed });
  await roots.save();
  await api.post(rosterPath(segmentId), signed, SegmentSchema);
  if (!isNew) return [`roster ${number} was sent again`];
  if (replaced !== undefined && owned.shown !== undefined) {
    const goesOn = `continues from roster ${owned.shown.number}, which the server has, as number ${number}`;
    return [goesOn, ...changes, ...whatIsDropped(roster, owned.shown, replaced)];
  }
  return [
    ...changes,
    ...owned.droppedGenerations.map(
      (generation) =>
        `drops a generation ${generation} of the segment key: seal again whatever was sealed to it`,
    ),
  ];
}

async function verified(known: KnownRoot, root: Uint8Array, signed: SignedRoster): Promise<Roster> {
  const { installationId, segmentId, segmentName } = known;
  try {
    return await verifyRoster(root, signed, { installationId, segmentId, minNumber: 0 });
  } catch (cause) {
    if (!(cause instanceof SealingError)) throw cause;
    throw new AgentError(
      `The roster of segment ${segmentName} that the server shows is not genuine: ${cause.message}.`,
      'Stop until you know why: ask whoever runs the server.',
      { cause },
    );
  }
}

function rosterPath(segmentId: number): string {
  return `/api/v1/segments/${segmentId}/roster`;
}
