// The agent's own keys and their replacement. New keys are on disk before anybody hears of them, and stay the same
// until they are in use. The previous keys are given up only once the segment's roster names the new ones, because a
// server may welcome any key. Whatever is interrupted, one of the two opens the next connection; trying shows which.
import { rm } from 'node:fs/promises';
import type { AgentMessageOf } from '@opsconductor/protocol';
import {
  encodeBase64,
  encryptionPublicKeyOf,
  equalBytes,
  keyChangeStatement,
  type RosterAgent,
  sign,
  signingPublicKeyOf,
} from '@opsconductor/protocol/sealing';
import type { Logger } from '../log.ts';
import type { DataDirectory } from './data-directory.ts';
import { syncFolder } from './durable-file.ts';
import { type Identity, saveKey } from './identity.ts';
import { makeNextKeys, type PrivateKeys, readNextKeys } from './next-keys.ts';

type Wraps = AgentMessageOf<'new_keys'>['wraps'];

interface NextKeys extends PrivateKeys {
  signingPublicKey: Uint8Array;
  encryptionPublicKey: Uint8Array;
}

export interface OwnKeysOptions {
  data: DataDirectory;
  /** Its keys are replaced when the new ones come into use. */
  identity: Identity;
  log: Pick<Logger, 'info' | 'warn'>;
}

export class OwnKeys {
  readonly #options: OwnKeysOptions;
  #next: NextKeys | undefined;
  /** Whether to try the new key next, because the server refused the other one. */
  #triesNext = false;
  #offeredOn: object | undefined;

  private constructor(options: OwnKeysOptions) {
    this.#options = options;
  }

  /** Opens the keys, and finishes a replacement that was interrupted after the new keys had come into use. */
  static async open(options: OwnKeysOptions): Promise<OwnKeys> {
    const keys = new OwnKeys(options);
    const found = await keys.#onDisk();
    if (found !== undefined && keys.#isInUse(found)) await keys.#replace(found);
    else keys.#next = found;
    return keys;
  }

  /** The key that signs the next connection's handshake. */
  get signingPrivateKey(): Uint8Array {
    const { identity } = this.#options;
    return this.#triesNext && this.#next !== undefined
      ? this.#next.signingPrivateKey
      : identity.signingPrivateKey;
  }

  /**
   * The server did not accept the key that was tried. If there are two, the other one is tried next.
   *
   * @returns whether that one has not been tried yet.
   */
  refused(): boolean {
    if (this.#next === undefined) return false;
    this.#triesNext = !this.#triesNext;
    if (this.#triesNext)
      this.#options.log.warn('the server refused the current key of this agent; trying the new one');
    return this.#triesNext;
  }

  /** Makes new keys, unless there already are some that are not in use. */
  async make(): Promise<void> {
    await makeNextKeys(this.#options.data);
    await this.#look();
  }

  /**
   * Offers the new keys, if there are any, once on each connection.
   *
   * @param wrapsFor wraps this agent's segment keys for a public key.
   */
  async offer(
    connection: { send(message: AgentMessageOf<'new_keys'>): void },
    wrapsFor: (publicKey: Uint8Array) => Promise<Wraps>,
  ): Promise<void> {
    await this.#look();
    const next = this.#next;
    if (next === undefined || this.#offeredOn === connection) return;
    this.#offeredOn = connection;
    const { installationId, segmentId, agentId, signingPublicKey, signingPrivateKey } =
      this.#options.identity;
    const { signingPublicKey: signingKey, encryptionPublicKey: encryptionKey } = next;
    const statement = keyChangeStatement({
      installationId,
      segmentId,
      agentId,
      oldSigningKey: signingPublicKey,
      signingKey,
      encryptionKey,
    });
    connection.send({
      type: 'new_keys',
      signingKey: encodeBase64(signingKey),
      encryptionKey: encodeBase64(encryptionKey),
      signature: encodeBase64(await sign(signingPrivateKey, statement)),
      ownSignature: encodeBase64(await sign(next.signingPrivateKey, statement)),
      wraps: await wrapsFor(encryptionKey),
    });
  }

  /** Called with this agent's entry in a roster of the segment. */
  async named(member: RosterAgent | undefined): Promise<void> {
    const next = this.#next;
    if (next !== undefined && member?.signingKey === encodeBase64(next.signingPublicKey))
      await this.#replace(next);
  }

  /** Looks on disk again, since a command may have left new keys there. */
  async #look(): Promise<void> {
    if (this.#next !== undefined) return;
    const found = await this.#onDisk();
    // They may have been put to use while they were being read.
    if (found !== undefined && !this.#isInUse(found)) this.#next ??= found;
  }

  async #onDisk(): Promise<NextKeys | undefined> {
    const found = await readNextKeys(this.#options.data);
    return (
      found && {
        ...found,
        signingPublicKey: await signingPublicKeyOf(found.signingPrivateKey),
        encryptionPublicKey: await encryptionPublicKeyOf(found.encryptionPrivateKey),
      }
    );
  }

  #isInUse({ signingPublicKey }: NextKeys): boolean {
    return equalBytes(signingPublicKey, this.#options.identity.signingPublicKey);
  }

  async #replace(next: NextKeys): Promise<void> {
    const { data, identity, log } = this.#options;
    // The order matters: the new keys are in use from the first write on, which shows what is left to do after a crash.
    await saveKey(data.signingKey, next.signingPrivateKey);
    await saveKey(data.encryptionKey, next.encryptionPrivateKey);
    await rm(data.nextKeys, { force: true });
    await syncFolder(data.root);
    identity.signingPrivateKey = next.signingPrivateKey;
    identity.signingPublicKey = next.signingPublicKey;
    identity.encryptionPrivateKey = next.encryptionPrivateKey;
    this.#next = undefined;
    this.#triesNext = false;
    this.#offeredOn = undefined;
    log.info('the keys of this agent were replaced; the previous ones were deleted');
  }
}
