// The segment's private keys, which exist only on agents, and the newest roster, which says who may have them.
import { readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { AgentMessage, ServerMessageOf } from '@opsconductor/protocol';
import {
  decodeBase64,
  encodeBase64,
  encryptionPublicKeyOf,
  equalBytes,
  generateSegmentKey,
  type KeyPair,
  type Roster,
  rosterMember,
  rosterSegmentKey,
  SealingError,
  type SegmentKeyBinding,
  type SignedRoster,
  segmentKeyStatement,
  sign,
  unwrapSegmentKey,
  verifyRoster,
  wrapSegmentKey,
} from '@opsconductor/protocol/sealing';
import type { Logger } from 'pino';
import { Type } from 'typebox';
import { Check } from 'typebox/value';
import { AgentError } from '../agent-error.ts';
import type { DataDirectory } from './data-directory.ts';
import { errorCode, readIfExists, syncFolder, writeDurably } from './durable-file.ts';
import { createKey, type Identity, keyPairAt, parseJson, readKey, saveKey } from './identity.ts';

const StoredRosterSchema = Type.Object({ payload: Type.String(), signature: Type.String() });

export interface SegmentKeysOptions {
  data: DataDirectory;
  identity: Pick<
    Identity,
    'installationId' | 'segmentId' | 'agentId' | 'segmentRoot' | 'encryptionPrivateKey' | 'signingPrivateKey'
  >;
  /** Called for each roster that is accepted, before the wraps that came with it are opened. */
  onRoster?(roster: Roster): Promise<void>;
  log: Logger;
}

export class SegmentKeys {
  readonly #options: SegmentKeysOptions;
  /** Keys by generation. They are checked against the roster before they are used. */
  readonly #keys = new Map<number, KeyPair>();
  #roster: Roster | undefined;
  #signed: SignedRoster | undefined;
  #applying: Promise<void> = Promise.resolve();
  /** The state that arrived last; earlier ones are not retried. */
  #newest: ServerMessageOf<'segment_state'> | undefined;
  /** Applies the newest state again after the disk refused it. */
  #refused: (() => Promise<void>) | undefined;

  private constructor(options: SegmentKeysOptions) {
    this.#options = options;
  }

  /** Reads what is stored. A roster that does not verify any more is an error, not a reason to start over. */
  static async open(options: SegmentKeysOptions): Promise<SegmentKeys> {
    const keys = new SegmentKeys(options);
    const { data } = options;
    const stored = await readIfExists(data.roster);
    if (stored !== undefined) {
      const signed = parseJson(stored.toString('utf8'));
      if (!Check(StoredRosterSchema, signed)) throw damaged(data.roster);
      keys.#roster = await keys.#verify(signed);
      keys.#signed = signed;
    }
    for (const name of await readdir(data.segmentKeys)) {
      const generation = Number(/^(\d+)\.key$/.exec(name)?.[1]);
      const key = Number.isInteger(generation) && (await readKey(join(data.segmentKeys, name)));
      if (key) await keys.#hold(generation, key);
    }
    // The previous process may have ended in the middle of this.
    if (keys.#roster !== undefined) await keys.#followRoster(keys.#roster);
    return keys;
  }

  /** Number of the newest verified roster; 0 before the first. */
  get rosterNumber(): number {
    return this.#roster?.number ?? 0;
  }

  /** Generations whose key is here and is the one that the roster names. */
  get generations(): number[] {
    return [...this.#keys.keys()].filter((generation) => this.#named(generation)).sort((a, b) => a - b);
  }

  privateKey(generation: number): Uint8Array | undefined {
    return this.#named(generation) ? this.#keys.get(generation)?.privateKey : undefined;
  }

  /** The generation to seal to, if its key is here. */
  newest(): { generation: number; publicKey: Uint8Array } | undefined {
    const generation = this.#roster?.currentGeneration;
    if (generation === undefined || !this.#named(generation)) return undefined;
    const publicKey = this.#keys.get(generation)?.publicKey;
    return publicKey && { generation, publicKey };
  }

  /**
   * Applies the newest roster and the wraps for this agent, and replies with what it can open and with wraps for those
   * who need one. States are applied one after the other; one that is not genuine changes nothing and is logged.
   */
  apply(
    state: ServerMessageOf<'segment_state'>,
    reply: (message: AgentMessage) => void,
    isAgain = false,
  ): Promise<void> {
    this.#newest = state;
    this.#refused = undefined;
    this.#applying = this.#applying.then(async () => {
      try {
        await this.#takeRoster(state.roster);
        await this.#unwrap(state.wraps);
        reply({ type: 'segment_ready', rosterNumber: this.rosterNumber, generations: this.generations });
        await this.#wrapForPeers(state.wanting, reply);
        await this.#wrapForRecovery(state.wantedForRecovery ?? [], reply);
        if (state.makeGeneration !== undefined) await this.#makeGeneration(state.makeGeneration, reply);
      } catch (error) {
        const again = () => this.apply(state, reply, true);
        this.#notApplied(error, this.#newest === state ? again : undefined, isAgain);
      }
    });
    return this.#applying;
  }

  /** Returns the segment keys that are here, each wrapped for another key of this agent. */
  async wrapsFor(recipientPublicKey: Uint8Array): Promise<{ generation: number; wrapped: string }[]> {
    const wraps = [];
    for (const generation of this.generations) {
      const segmentPrivateKey = this.privateKey(generation);
      const binding = this.#binding(generation, this.#options.identity.agentId);
      if (segmentPrivateKey === undefined || binding === undefined) continue;
      const wrapped = await wrapSegmentKey({ segmentPrivateKey, recipientPublicKey, binding });
      wraps.push({ generation, wrapped });
    }
    return wraps;
  }

  /** Applies the newest state again if the disk has refused it. */
  async retry(): Promise<void> {
    await this.#refused?.();
  }

  #notApplied(error: unknown, again: (() => Promise<void>) | undefined, isAgain: boolean): void {
    const { log } = this.#options;
    if (error instanceof SealingError) {
      const { reason, message } = error;
      log.error(
        { reason },
        `refused the segment state from the server; the previous one stays in force: ${message}`,
      );
      return;
    }
    // Any error other than the disk's refusal is a bug.
    if (errorCode(error) === undefined) throw error;
    this.#refused = again;
    if (isAgain) return;
    log.error(
      { err: error },
      'the segment state could not be written to the disk; the previous one stays in force until it can be',
    );
  }

  async #hold(generation: number, given: Uint8Array): Promise<void> {
    const privateKey = new Uint8Array(given);
    this.#keys.set(generation, { privateKey, publicKey: await encryptionPublicKeyOf(privateKey) });
  }

  #named(generation: number): boolean {
    return this.#roster !== undefined && this.#isNamedBy(this.#roster, generation);
  }

  #isNamedBy(roster: Roster, generation: number): boolean {
    const named = rosterSegmentKey(roster, generation);
    const own = this.#keys.get(generation)?.publicKey;
    return named !== undefined && own !== undefined && equalBytes(named, own);
  }

  async #verify(signed: SignedRoster): Promise<Roster> {
    const held = this.#signed;
    // Every connection brings the roster that is already here, and verifying a large one would be a quarter of a
    // reconnect.
    if (this.#roster !== undefined && held?.payload === signed.payload && held.signature === signed.signature)
      return this.#roster;
    const { installationId, segmentId, segmentRoot } = this.#options.identity;
    return verifyRoster(segmentRoot, signed, {
      installationId,
      segmentId,
      minNumber: this.rosterNumber,
      ...(held === undefined ? {} : { heldPayload: held.payload }),
    });
  }

  async #takeRoster(signed: SignedRoster): Promise<void> {
    const roster = await this.#verify(signed);
    await this.#keepLost(roster);
    if (roster.number !== this.rosterNumber) {
      await writeDurably(this.#options.data.roster, `${JSON.stringify(signed)}\n`);
    }
    this.#roster = roster;
    this.#signed = signed;
    await this.#options.onRoster?.(roster);
    await this.#followRoster(roster);
  }

  /**
   * Keeps keys that the last roster named and the next one does not, because the database was set back and no longer
   * knows them. Another agent may have such a key, even the one that is revoked next, so when that generation is made
   * again it must be a new key. The old key is kept aside, so that what was sealed to it is not lost if a later roster
   * names it again. This happens before the roster is stored, since afterwards nothing else says which keys were named.
   */
  async #keepLost(roster: Roster): Promise<void> {
    const { data } = this.#options;
    const lost = this.generations.filter((generation) => !this.#isNamedBy(roster, generation));
    for (const generation of lost) {
      const key = this.#keys.get(generation);
      if (key !== undefined) await createKey(asidePath(data, generation, key.publicKey), key.privateKey);
    }
  }

  /**
   * Restores keys that were kept aside and are named again, and drops keys that belong neither to this roster nor to
   * its next generation.
   */
  async #followRoster(roster: Roster): Promise<void> {
    const { data } = this.#options;
    const aside = new Set((await readdir(data.segmentKeys)).filter((name) => name.endsWith(asideEnding)));
    for (const [generation, { publicKey }] of this.#keys) {
      if (this.#isNamedBy(roster, generation)) continue;
      // Or it was made here, but another agent of the segment was first: nothing was ever sealed to it.
      const isDone = rosterSegmentKey(roster, generation) !== undefined;
      if (!isDone && !aside.has(asideName(generation, publicKey))) continue;
      // Forgotten only once its file is gone: any file there counts as this agent's next generation.
      await rm(segmentKeyPath(data, generation), { force: true });
      this.#keys.delete(generation);
    }
    for (const { generation } of roster.segmentKeys) {
      const named = rosterSegmentKey(roster, generation);
      if (named === undefined || this.#named(generation) || !aside.has(asideName(generation, named)))
        continue;
      const key = await readKey(asidePath(data, generation, named));
      if (key === undefined) continue;
      await rename(asidePath(data, generation, named), segmentKeyPath(data, generation));
      await syncFolder(data.segmentKeys);
      await this.#hold(generation, key);
    }
  }

  async #unwrap(wraps: ServerMessageOf<'segment_state'>['wraps']): Promise<void> {
    const { data, identity, log } = this.#options;
    for (const { generation, wrapped } of wraps) {
      if (this.#named(generation)) continue;
      const binding = this.#binding(generation, identity.agentId);
      if (binding === undefined) continue;
      try {
        const recipientPrivateKey = identity.encryptionPrivateKey;
        const key = await unwrapSegmentKey({ recipientPrivateKey, wrapped, binding });
        await saveKey(segmentKeyPath(data, generation), key);
        await this.#hold(generation, key);
      } catch (error) {
        if (!(error instanceof SealingError)) throw error;
        // One bad wrap must not keep the others from being used.
        log.error(
          { generation, reason: error.reason },
          `refused a segment key from the server: ${error.message}`,
        );
      }
    }
  }

  async #wrapForPeers(
    wanting: ServerMessageOf<'segment_state'>['wanting'],
    reply: (message: AgentMessage) => void,
  ): Promise<void> {
    const { log } = this.#options;
    for (const { agentId, generation } of wanting) {
      const segmentPrivateKey = this.privateKey(generation);
      const member = this.#roster && rosterMember(this.#roster, agentId);
      const binding = this.#binding(generation, agentId);
      // An agent that is not in the roster gets nothing, whatever the server wants.
      if (segmentPrivateKey === undefined || member === undefined || binding === undefined) continue;
      const { encryptionKey } = member;
      const recipientPublicKey = decodeBase64(encryptionKey, 32, 'encryptionKey');
      try {
        const wrapped = await wrapSegmentKey({ segmentPrivateKey, recipientPublicKey, binding });
        reply({ type: 'wrapped_key', agentId, generation, wrapped, encryptionKey });
      } catch (error) {
        if (!(error instanceof SealingError)) throw error;
        // A peer chooses its own key. One that nothing can be sealed to must not keep the others waiting for theirs.
        log.error(
          { agentId, generation, reason: error.reason },
          `no segment key was wrapped: ${error.message}`,
        );
      }
    }
  }

  /**
   * Makes the segment key's next generation and offers it. It is stored before anybody hears of it, stays the same when
   * asked for again, and is used once a roster names it. If the roster names another agent's key, it is dropped.
   */
  async #makeGeneration(generation: number, reply: (message: AgentMessage) => void): Promise<void> {
    const { data, identity, log } = this.#options;
    if (this.#roster === undefined || generation !== this.#roster.currentGeneration + 1) return;
    const { agentId, installationId, segmentId } = identity;
    const { privateKey, publicKey } = await keyPairAt(
      segmentKeyPath(data, generation),
      encryptionPublicKeyOf,
      generateSegmentKey,
    );
    await this.#hold(generation, privateKey);
    const wrapped = await wrapSegmentKey({
      segmentPrivateKey: privateKey,
      recipientPublicKey: await encryptionPublicKeyOf(identity.encryptionPrivateKey),
      binding: { installationId, segmentId, generation, recipient: agentId, segmentPublicKey: publicKey },
    });
    const statement = segmentKeyStatement({
      installationId,
      segmentId,
      agentId,
      generation,
      segmentPublicKey: publicKey,
      wrapped,
    });
    log.info({ generation }, 'made a new generation of the segment key');
    reply({
      type: 'segment_key_made',
      generation,
      segmentPublicKey: encodeBase64(publicKey),
      wrapped,
      signature: encodeBase64(await sign(identity.signingPrivateKey, statement)),
    });
  }

  /** Wraps for the recovery key that the roster names, whatever the server says. */
  async #wrapForRecovery(wanted: readonly number[], reply: (message: AgentMessage) => void): Promise<void> {
    const recoveryKey = this.#roster?.recoveryKey;
    if (recoveryKey === undefined) return;
    const recipientPublicKey = decodeBase64(recoveryKey, 32, 'recoveryKey');
    for (const generation of wanted) {
      const segmentPrivateKey = this.privateKey(generation);
      const binding = this.#binding(generation, 'recovery');
      if (segmentPrivateKey === undefined || binding === undefined) continue;
      const wrapped = await wrapSegmentKey({ segmentPrivateKey, recipientPublicKey, binding });
      reply({ type: 'recovery_wrapped', generation, wrapped });
    }
  }

  #binding(generation: number, recipient: SegmentKeyBinding['recipient']): SegmentKeyBinding | undefined {
    const { installationId, segmentId } = this.#options.identity;
    const segmentPublicKey = this.#roster && rosterSegmentKey(this.#roster, generation);
    return segmentPublicKey && { installationId, segmentId, generation, recipient, segmentPublicKey };
  }
}

/**
 * Returns the key that the first agent of a segment makes: stored before anybody hears of it, and the same when asked
 * for again.
 */
export function firstSegmentKey(data: DataDirectory): Promise<KeyPair> {
  return keyPairAt(segmentKeyPath(data, 1), encryptionPublicKeyOf, generateSegmentKey);
}

function segmentKeyPath(data: DataDirectory, generation: number): string {
  return join(data.segmentKeys, `${generation}.key`);
}

function damaged(path: string): AgentError {
  return new AgentError(
    `${path} is damaged.`,
    'Restore this file alone from a backup, or remove it: without it the agent believes the first roster that its segment’s root has signed, even an old one.',
  );
}

const asideEnding = '.aside';

/** File name for a key that rosters used to name and no longer do. */
function asideName(generation: number, publicKey: Uint8Array): string {
  return `${generation}.${Buffer.from(publicKey).toString('hex')}${asideEnding}`;
}

function asidePath(data: DataDirectory, generation: number, publicKey: Uint8Array): string {
  return join(data.segmentKeys, asideName(generation, publicKey));
}
