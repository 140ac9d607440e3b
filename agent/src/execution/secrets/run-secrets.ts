// Secret values of runs: opens those that a lease brings with the segment key, and seals those that a step hands on to
// it. An opened value is kept for a while, since a run on many targets brings the same seal for each.
import { randomUUID } from 'node:crypto';
import type { HandedOn, Lease, LeaseRendering, LeaseSecret } from '@opsconductor/protocol';
import {
  openRunValue,
  type RunValueBinding,
  type SealedEnvelope,
  SealingError,
  sealRunValue,
} from '@opsconductor/protocol/sealing';
import type { Pattern } from '../../masking/comparison.ts';
import { textPatterns } from '../../masking/secret-patterns.ts';
import { NoSegmentKey } from './credential-opener.ts';
import { isSameSeal } from './same-seal.ts';

const maxKept = 256;
const keptMs = 300_000;

export interface OpenedSecret {
  /** Name of the step that handed it on; undefined for a parameter. */
  step: string | undefined;
  name: string;
  value: string;
  /** What to mask of it. */
  patterns: readonly Pattern[];
}

export interface RunSecretsOptions {
  installationId: string;
  segmentId: number;
  segmentPrivateKey(generation: number): Uint8Array | undefined;
  /** The key generation to seal to. */
  newestKey(): { generation: number; publicKey: Uint8Array } | undefined;
  monotonicMs(): number;
}

/** A value can't be opened, and no other agent could open it either. */
export class UnopenableSecret extends Error {
  override readonly name = 'UnopenableSecret';
}

type Opened = Pick<OpenedSecret, 'value' | 'patterns'>;

/** Entered while the value is still being opened, since many leases of a run arrive at once. */
interface Kept {
  sealed: SealedEnvelope;
  opened: Promise<Opened>;
  untilMs: number;
}

export class RunSecrets {
  readonly #options: RunSecretsOptions;
  readonly #kept = new Map<string, Kept>();

  constructor(options: RunSecretsOptions) {
    this.#options = options;
  }

  /**
   * Opens all secrets of a lease.
   *
   * @throws {NoSegmentKey}
   * @throws {UnopenableSecret}
   */
  async open({ values, secrets }: LeaseRendering): Promise<OpenedSecret[]> {
    return Promise.all(
      secrets.map(async (secret) => {
        const { value, patterns } = await this.#open(values.job.id, secret);
        return { step: secret.step, name: secret.name, value, patterns };
      }),
    );
  }

  get canSeal(): boolean {
    return this.#options.newestKey() !== undefined;
  }

  /** Seals an output for later steps. Returns undefined if none of them can name it. */
  async seal({ rendering }: Lease, name: string, value: string): Promise<HandedOn | undefined> {
    if (rendering?.step === undefined) return undefined;
    const key = this.#options.newestKey();
    if (key === undefined) throw new NoSegmentKey('This agent does not hold the newest segment key');
    const id = randomUUID();
    const binding = this.#binding(
      rendering.values.job.id,
      { step: rendering.step, name, id },
      key.generation,
    );
    return { id, sealed: await sealRunValue({ segmentPublicKey: key.publicKey, binding, value }) };
  }

  async #open(jobId: number, secret: LeaseSecret): Promise<Opened> {
    const { sealed } = secret;
    const key = JSON.stringify([jobId, secret.id, secret.step, secret.name]);
    const now = this.#options.monotonicMs();
    const kept = this.#kept.get(key);
    // A swapped row is not answered from here.
    if (kept !== undefined && kept.untilMs > now && isSameSeal(kept.sealed, sealed)) return kept.opened;
    const binding = this.#binding(jobId, secret, sealed.generation);
    const made = { sealed, opened: this.#unseal(binding, secret), untilMs: now + keptMs };
    this.#keep(key, made);
    try {
      return await made.opened;
    } catch (error) {
      if (this.#kept.get(key) === made) this.#kept.delete(key);
      throw error;
    }
  }

  async #unseal(binding: RunValueBinding, { sealed, step, name }: LeaseSecret): Promise<Opened> {
    const segmentPrivateKey = this.#options.segmentPrivateKey(sealed.generation);
    if (segmentPrivateKey === undefined) {
      throw new NoSegmentKey(`This agent does not hold generation ${sealed.generation} of the segment key`);
    }
    try {
      const value = await openRunValue({ segmentPrivateKey, binding, sealed });
      return { value, patterns: textPatterns(value) };
    } catch (error) {
      if (!(error instanceof SealingError)) throw error;
      const called = step === undefined ? `parameters.${name}` : `steps.${step}.outputs.${name}`;
      throw new UnopenableSecret(`The secret ${called} could not be opened: ${error.message}.`);
    }
  }

  #binding(
    jobId: number,
    { id, step = '', name }: Pick<LeaseSecret, 'id' | 'step' | 'name'>,
    generation: number,
  ): RunValueBinding {
    const { installationId, segmentId } = this.#options;
    return { installationId, jobId, id, step, name, segmentId, generation };
  }

  #keep(key: string, kept: Kept): void {
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > maxKept && oldest !== undefined) this.#kept.delete(oldest);
  }
}
