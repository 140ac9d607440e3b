// The roots of segments that the person who starts runs has seen and compared. They are kept in a file, so that no
// server can name another root later, or show an older roster of the same.
import { isDeepStrictEqual } from 'node:util';
import { type SealingKey, SealingKeySchema } from '@opsconductor/protocol';
import {
  decodeBase64,
  fingerprint,
  type Roster,
  rosterSegmentKey,
  SealingError,
  verifyRoster,
} from '@opsconductor/protocol/sealing';
import { type Static, Type } from 'typebox';
import { Check } from 'typebox/value';
import { AgentError } from '../agent-error.ts';
import { readGivenText } from '../command-line/read-given-text.ts';
import { type DirectoryLock, LockHeld, lockDirectory } from '../identity/directory-lock.ts';
import { isMissing, writeDurably } from '../identity/durable-file.ts';
import { parseJson } from '../identity/identity.ts';
import { pause } from '../timing/pause.ts';

const KnownRootSchema = Type.Object(
  {
    installationId: SealingKeySchema.properties.installationId,
    segmentId: SealingKeySchema.properties.segmentId,
    segmentName: Type.String(),
    /** As the console shows it: `SHA256:…`. */
    rootFingerprint: Type.String(),
    /** Number of the newest roster that was seen. */
    rosterNumber: Type.Integer({ minimum: 0 }),
    /** The newest roster that the owner of the root has signed or looked at on this machine. */
    signed: Type.Optional(Type.Object({ payload: Type.String(), signature: Type.String() })),
  },
  { additionalProperties: false },
);
export type KnownRoot = Static<typeof KnownRootSchema>;
const KnownRootsSchema = Type.Object(
  { segments: Type.Array(KnownRootSchema) },
  { additionalProperties: false },
);

export type NamedSealingKey = SealingKey & { segmentName: string };

export interface SegmentKey {
  installationId: string;
  segmentId: number;
  generation: number;
  segmentPublicKey: Uint8Array;
}

export class KnownRoots {
  readonly #path: string | undefined;
  readonly #learns: boolean;
  #known: KnownRoot[];
  /** What the file had when it was last read or written. */
  #kept: readonly KnownRoot[];

  private constructor(path: string | undefined, learns: boolean, known: KnownRoot[]) {
    this.#path = path;
    this.#learns = learns;
    this.#known = known;
    this.#kept = structuredClone(known);
  }

  /**
   * @param path undefined if no file was named: then the root that the server names is believed.
   * @param learns whether segments that are not in the file are added to it.
   * @throws {AgentError}
   */
  static async read(path: string | undefined, learns: boolean): Promise<KnownRoots> {
    if (path === undefined) return new KnownRoots(path, learns, []);
    return new KnownRoots(path, learns, await readRoots(path));
  }

  /**
   * Returns the key of a segment that is named in the roster signed by its root.
   *
   * @throws {AgentError} for a root that is not the known one, or whose roster is older than one that was seen.
   */
  async verify(key: NamedSealingKey): Promise<SegmentKey> {
    const { installationId, segmentId, segmentName, generation } = key;
    try {
      const root = decodeBase64(key.rootPublicKey, 32, 'rootPublicKey');
      const known = this.#knownRoot(key, await fingerprint(root));
      const roster = await verifyRoster(root, key.roster, {
        installationId,
        segmentId,
        minNumber: known?.rosterNumber ?? 0,
      });
      if (known?.signed !== undefined) await refuseOther(root, known.signed, { ...key.roster, roster });
      if (known !== undefined) known.rosterNumber = roster.number;
      const segmentPublicKey = rosterSegmentKey(roster);
      if (segmentPublicKey === undefined || roster.currentGeneration !== generation) {
        throw new SealingError('key_mismatch', 'The server offers another key than the roster names');
      }
      return { installationId, segmentId, generation, segmentPublicKey };
    } catch (error) {
      if (!(error instanceof SealingError)) throw error;
      throw new AgentError(
        `Nothing was sealed to segment ${segmentName}: ${error.message}.`,
        'Stop: the server, or something between you and it, is not what it claims to be. Ask whoever runs it.',
        { cause: error },
      );
    }
  }

  /**
   * Returns what the file has about a segment.
   *
   * @throws {AgentError} if it has none of that name, or several.
   */
  named(segmentName: string): KnownRoot {
    const [first, second] = this.#known.filter((one) => one.segmentName === segmentName);
    if (first === undefined) {
      throw new AgentError(
        `Segment ${segmentName} is not in ${this.#path}.`,
        'Name the file that knows its root with --roots: the owner of that root has had one since "segment init". If the server holds the root, compare it with what the console shows, and run the command once with --learn-roots.',
      );
    }
    if (second === undefined) return first;
    throw new AgentError(
      `${this.#path} has several segments named ${segmentName}, of different installations.`,
      'Keep a file of roots for each installation, and name it with --roots.',
    );
  }

  /** Returns whether a segment of that name is not in the file, and may be added to it. */
  mayLearn(segmentName: string): boolean {
    return this.#learns && this.#known.every((one) => one.segmentName !== segmentName);
  }

  has({ installationId, segmentId }: Pick<KnownRoot, 'installationId' | 'segmentId'>): boolean {
    return this.#known.some((one) => one.installationId === installationId && one.segmentId === segmentId);
  }

  /** Adds what is known of a segment, or replaces what was known before. */
  put(known: KnownRoot): void {
    const { installationId, segmentId } = known;
    const at = this.#known.findIndex(
      (one) => one.installationId === installationId && one.segmentId === segmentId,
    );
    this.#known.splice(at === -1 ? this.#known.length : at, at === -1 ? 0 : 1, known);
  }

  /**
   * Saves what was learned and seen, if any of it is new. What other commands have saved since the file was read is
   * kept: one that asked for a passphrase may have waited for minutes.
   *
   * @throws {AgentError} also if a roster is to be kept, and another command has kept or seen another one meanwhile.
   */
  async save(): Promise<void> {
    if (this.#path === undefined || isDeepStrictEqual(this.#known, this.#kept)) return;
    const path = this.#path;
    const lock = await takeTurn(path);
    try {
      this.#known = merged(this.#kept, this.#known, await readRoots(path));
      const text = `${JSON.stringify({ segments: this.#known }, null, 2)}\n`;
      await writeDurably(path, text).catch((cause: unknown) => {
        throw notWritten(cause);
      });
    } finally {
      await lock.release();
    }
    this.#kept = structuredClone(this.#known);
  }

  #knownRoot(
    { installationId, segmentId, segmentName }: NamedSealingKey,
    found: string,
  ): KnownRoot | undefined {
    if (this.#path === undefined) return undefined;
    const before = this.#known.find(
      (one) => one.installationId === installationId && one.segmentId === segmentId,
    );
    if (before !== undefined && before.rootFingerprint !== found) {
      throw new AgentError(
        `The root of segment ${segmentName} is ${found}; ${this.#path} has ${before.rootFingerprint}.`,
        'Stop until you know why: ask whoever runs the server. If the change is intended, remove the segment from the file.',
      );
    }
    if (before === undefined && !this.#learns) {
      throw new AgentError(
        `Segment ${segmentName} with the root ${found} is not in ${this.#path}.`,
        'Compare that with the root that the console shows for the segment, then run the command once with --learn-roots.',
      );
    }
    if (before !== undefined) return before;
    const learned = { installationId, segmentId, segmentName, rootFingerprint: found, rosterNumber: 0 };
    this.#known.push(learned);
    return learned;
  }
}

/**
 * Refuses a roster that can't follow the one that is kept, although the root has signed both: on another machine, where
 * nobody knew of a removal. What is sealed by it could be opened by the agent that was removed.
 *
 * @throws {SealingError}
 */
async function refuseOther(
  root: Uint8Array,
  kept: { payload: string; signature: string },
  shown: { payload: string; roster: Roster },
): Promise<void> {
  const { installationId, segmentId, number, agents } = shown.roster;
  const held = await verifyRoster(root, kept, { installationId, segmentId, minNumber: 0 });
  if (held.number === number && kept.payload !== shown.payload)
    throw new SealingError(
      'rolled_back',
      `There are two rosters ${number}, and the server’s is not the one that is kept here`,
    );
  const back = agents.find(({ agentId }) => held.revoked.some((one) => one.agentId === agentId));
  if (back === undefined) return;
  throw new SealingError(
    'rolled_back',
    `Roster ${number} names agent ${back.name}, which roster ${held.number} has removed`,
  );
}

/** How long a command waits for others to save. Each takes as long as a disk needs to write a small file. */
const maxWaitMs = 10_000;

/** Of commands that save at the same moment, each has to read what the one before has written. */
async function takeTurn(path: string): Promise<DirectoryLock> {
  const untilMs = performance.now() + maxWaitMs;
  for (;;) {
    try {
      return await lockDirectory(`${path}.lock`);
    } catch (error) {
      if (!(error instanceof LockHeld)) throw notWritten(error);
      if (performance.now() > untilMs) {
        throw new AgentError(
          `Another command (process ${error.holder}) is saving the file of roots.`,
          `Run the command again when that one has ended. Nothing was saved. If there is none, remove ${path}.lock.`,
          { cause: error },
        );
      }
      await pause(20);
    }
  }
}

function notWritten(cause: unknown): AgentError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new AgentError(
    `The file of roots can't be written: ${why}.`,
    'Let the user who runs the command write to the directory of --roots: the number of each newer roster is kept there.',
    { cause },
  );
}

/** Reads a file of roots, which is empty if there is none. */
async function readRoots(path: string): Promise<KnownRoot[]> {
  const text = await readGivenText(path).catch((cause: unknown) => {
    if (isMissing(cause)) return undefined;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new AgentError(`The file of roots can't be read: ${why}.`, 'Check the path given with --roots.', {
      cause,
    });
  });
  if (text === undefined) return [];
  const content = parseJson(text);
  if (Check(KnownRootsSchema, content)) return content.segments;
  throw new AgentError(
    `${path} is not a file of roots.`,
    'Name another file with --roots; with --learn-roots a new one is written.',
  );
}

/** Returns what the file is to have, if another command may have changed it from `before` to `theirs` meanwhile. */
function merged(
  before: readonly KnownRoot[],
  ours: readonly KnownRoot[],
  theirs: readonly KnownRoot[],
): KnownRoot[] {
  const find = (some: readonly KnownRoot[], { installationId, segmentId }: KnownRoot) =>
    some.find((one) => one.installationId === installationId && one.segmentId === segmentId);
  const changed = ours.filter((one) => !isDeepStrictEqual(one, find(before, one)));
  const kept = theirs.map((their) => {
    const our = find(changed, their);
    if (our === undefined || isDeepStrictEqual(our, their)) return their;
    return isDeepStrictEqual(their, find(before, their)) ? our : mergedOne(find(before, their), our, their);
  });
  return [...kept, ...changed.filter((one) => find(theirs, one) === undefined)];
}

function mergedOne(before: KnownRoot | undefined, our: KnownRoot, their: KnownRoot): KnownRoot {
  const isKept = !isDeepStrictEqual(our.signed, before?.signed);
  if (isKept || our.rootFingerprint !== their.rootFingerprint) {
    throw new AgentError(
      `Another command has changed what is known of segment ${our.segmentName} meanwhile.`,
      'Run the command again. Nothing was sent.',
    );
  }
  return { ...their, rosterNumber: Math.max(our.rosterNumber, their.rosterNumber) };
}
