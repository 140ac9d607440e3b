// The numbered roster of a segment: the agents and keys that its root vouches for. Agents and CLI trust no others.
import { type Static, Type } from 'typebox';
import { decodeBase64, encodeBase64, encodeFields } from '../encoding.ts';
import { publicKeyBytes, sign, verifyBase64 } from '../keys.ts';
import { SealingError } from '../sealing-error.ts';
import { assertShape, type Problem, problemsOf, refuseProblems } from '../shape.ts';

const Id = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });
const Generation = Type.Integer({ minimum: 1, maximum: 2_147_483_647 });
const PublicKey = Type.String({ minLength: 44, maxLength: 44 });

const RosterSchema = Type.Object(
  {
    installationId: Type.String({ minLength: 1, maxLength: 64 }),
    segmentId: Id,
    /** Increases with every change. Anyone who has seen a higher number refuses a lower one. */
    number: Id,
    agents: Type.Array(
      Type.Object(
        {
          agentId: Id,
          name: Type.String({ minLength: 1, maxLength: 63 }),
          /** Ed25519, base64. */
          signingKey: PublicKey,
          /** X25519, base64: the segment key is wrapped for this key. */
          encryptionKey: PublicKey,
        },
        { additionalProperties: false },
      ),
      { maxItems: 256 },
    ),
    segmentKeys: Type.Array(
      Type.Object({ generation: Generation, publicKey: PublicKey }, { additionalProperties: false }),
      { minItems: 1, maxItems: 1_024 },
    ),
    /** The newest generation, to which everything is sealed from now on. */
    currentGeneration: Generation,
    /** X25519, base64: the offline recovery key, if there is one. */
    recoveryKey: Type.Optional(PublicKey),
    /** Former members, each with the number of the roster that revoked it. */
    revoked: Type.Array(Type.Object({ agentId: Id, atNumber: Id }, { additionalProperties: false }), {
      maxItems: 4_096,
    }),
  },
  { additionalProperties: false },
);
export type Roster = Static<typeof RosterSchema>;
export type RosterAgent = Roster['agents'][number];

/** A roster for transport: the exact JSON text that was signed, and the root's signature in base64. */
export interface SignedRoster {
  payload: string;
  signature: string;
}

/** What a verifier already knows. */
export interface RosterExpectation {
  installationId: string;
  segmentId: number;
  /** The number of the newest roster verified before; 0 if there was none. */
  minNumber: number;
  /** That roster's exact payload, so that a different one with the same number is refused too. */
  heldPayload?: string;
}

const maxPayloadLength = 1_000_000;

/**
 * Signs a roster with the segment's root, after the checks that a verifier also makes.
 *
 * @throws {SealingError} `malformed` for a roster that no verifier would accept.
 */
export async function signRoster(rootPrivateKey: Uint8Array, roster: Roster): Promise<SignedRoster> {
  refuseProblems(rosterProblems(roster), 'Roster');
  const payload = JSON.stringify(roster);
  if (payload.length > maxPayloadLength) throw new SealingError('malformed', 'Roster is too large');
  return { payload, signature: encodeBase64(await sign(rootPrivateKey, statement(payload))) };
}

/**
 * Verifies a roster against the pinned root and parses it. The payload is not parsed before its signature is verified.
 *
 * @throws {SealingError} `bad_signature`; `rolled_back` for a number below `minNumber`, or a different payload with the
 * known number; `foreign` for another installation or segment; `malformed` for a duplicate agent or key, a current
 * generation without a key, or a revoked agent that is listed.
 */
export async function verifyRoster(
  rootPublicKey: Uint8Array,
  signed: SignedRoster,
  expected: RosterExpectation,
): Promise<Roster> {
  if (signed.payload.length > maxPayloadLength) throw new SealingError('malformed', 'Roster is too large');
  if (!(await verifyBase64(rootPublicKey, statement(signed.payload), signed.signature))) {
    throw new SealingError('bad_signature', 'The roster is not signed by the root of this segment');
  }
  const roster = parse(signed.payload);
  if (roster.installationId !== expected.installationId || roster.segmentId !== expected.segmentId) {
    throw new SealingError('foreign', 'The roster belongs to another installation or segment');
  }
  if (roster.number < expected.minNumber) {
    throw new SealingError(
      'rolled_back',
      `Roster ${roster.number} is older than ${expected.minNumber}, which was already seen`,
    );
  }
  if (
    expected.heldPayload !== undefined &&
    roster.number === expected.minNumber &&
    signed.payload !== expected.heldPayload
  ) {
    throw new SealingError('rolled_back', `A different roster ${roster.number} was already seen`);
  }
  return roster;
}

/** Returns the member with this id; `undefined` if it was never listed or is revoked. */
export function rosterMember(roster: Roster, agentId: number): RosterAgent | undefined {
  return roster.agents.find((agent) => agent.agentId === agentId);
}

/**
 * Returns the segment's raw public key of a generation (by default the current one); `undefined` if the roster has
 * none.
 */
export function rosterSegmentKey(
  roster: Roster,
  generation: number = roster.currentGeneration,
): Uint8Array<ArrayBuffer> | undefined {
  const key = roster.segmentKeys.find((candidate) => candidate.generation === generation);
  return key && decodeBase64(key.publicKey, publicKeyBytes, 'Segment key');
}

function parse(payload: string): Roster {
  let value: unknown;
  try {
    value = JSON.parse(payload);
  } catch (cause) {
    throw new SealingError('malformed', 'The roster is not JSON', { cause });
  }
  assertShape(RosterSchema, value, 'Roster');
  refuseProblems(rosterProblems(value), 'Roster');
  return value;
}

function rosterProblems(roster: Roster): Problem[] {
  const shape = problemsOf(RosterSchema, roster);
  if (shape.length > 0) return shape;
  const problems = keyProblems(roster);
  const { agents, segmentKeys, revoked, currentGeneration } = roster;
  const generations = segmentKeys.map(({ generation }) => generation);
  const ids = new Set(agents.map(({ agentId }) => agentId));

  const unique: [string, readonly (string | number)[]][] = [
    ['agents', agents.map(({ agentId }) => agentId)],
    ['agents', agents.flatMap(({ signingKey, encryptionKey }) => [signingKey, encryptionKey])],
    ['segmentKeys', generations],
    ['segmentKeys', segmentKeys.map(({ publicKey }) => publicKey)],
    ['revoked', revoked.map(({ agentId }) => agentId)],
  ];
  for (const [path, values] of unique) {
    const twice = firstRepeated(values);
    if (twice !== undefined) problems.push({ path, message: `lists ${twice} twice` });
  }
  if (!generations.includes(currentGeneration)) {
    problems.push({ path: 'currentGeneration', message: `${currentGeneration} has no key in segmentKeys` });
  }
  if (generations.some((generation) => generation > currentGeneration)) {
    problems.push({
      path: 'currentGeneration',
      message: `${currentGeneration} is not the newest generation`,
    });
  }
  revoked.forEach(({ agentId, atNumber }, at) => {
    if (ids.has(agentId))
      problems.push({ path: `revoked[${at}]`, message: `names agent ${agentId}, a member` });
    if (atNumber > roster.number) {
      problems.push({ path: `revoked[${at}]`, message: `is of roster ${atNumber}, after this one` });
    }
  });
  return problems;
}

function firstRepeated(values: readonly (string | number)[]): string | number | undefined {
  const seen = new Set<string | number>();
  return values.find((value) => seen.size === seen.add(value).size);
}

function keyProblems({ agents, segmentKeys, recoveryKey }: Roster): Problem[] {
  const keys = new Map<string, string>();
  agents.forEach((agent, at) => {
    keys.set(`agents[${at}].signingKey`, agent.signingKey);
    keys.set(`agents[${at}].encryptionKey`, agent.encryptionKey);
  });
  segmentKeys.forEach((key, at) => {
    keys.set(`segmentKeys[${at}].publicKey`, key.publicKey);
  });
  if (recoveryKey !== undefined) keys.set('recoveryKey', recoveryKey);
  return [...keys].flatMap(([path, key]) => {
    try {
      decodeBase64(key, publicKeyBytes, path);
      return [];
    } catch {
      return [{ path, message: `must be base64 of ${publicKeyBytes} bytes` }];
    }
  });
}

function statement(payload: string): Uint8Array {
  return encodeFields('segment-roster', [payload]);
}
