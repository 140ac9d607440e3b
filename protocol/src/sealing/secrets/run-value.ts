// A secret value of a run: a parameter, sealed by the person who starts it, or an output, sealed by the agent whose
// step handed it on. Agents of the segment open it; the server only carries it.
import { limits } from '../../limits.ts';
import { SealingError } from '../sealing-error.ts';
import { type EnvelopeContext, openEnvelope, type SealedEnvelope, sealEnvelope } from './envelope.ts';

/** Identifies the sealed value. Opening requires the same values, so no row can stand in for another. */
export interface RunValueBinding {
  installationId: string;
  jobId: number;
  /** UUID, chosen by the client that seals. A rerun keeps that of its run. */
  id: string;
  /** Id of the step that hands it on; empty for a parameter. */
  step: string;
  name: string;
  segmentId: number;
  /** Generation of the segment key. */
  generation: number;
}

/**
 * Seals a value to a segment's public key, which must come from a verified roster.
 *
 * @throws {SealingError} `malformed` for a value above 64 KiB.
 */
export async function sealRunValue(input: {
  segmentPublicKey: Uint8Array;
  binding: RunValueBinding;
  value: string;
}): Promise<SealedEnvelope> {
  const plaintext = new TextEncoder().encode(input.value);
  try {
    if (plaintext.length > limits.maxSecretBytes) {
      throw new SealingError('malformed', `A secret value can have at most ${limits.maxSecretBytes} bytes`);
    }
    return await sealEnvelope(input.segmentPublicKey, context(input.binding), plaintext);
  } finally {
    plaintext.fill(0);
  }
}

/**
 * Opens a sealed value.
 *
 * @throws {SealingError} `unopenable` for another segment key, another binding or altered bytes; `malformed` if it isn't
 * text.
 */
export async function openRunValue(input: {
  segmentPrivateKey: Uint8Array;
  binding: RunValueBinding;
  sealed: SealedEnvelope;
}): Promise<string> {
  const plaintext = await openEnvelope(input.segmentPrivateKey, context(input.binding), input.sealed);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(plaintext);
  } catch (cause) {
    if (cause instanceof SealingError) throw cause;
    throw new SealingError('malformed', 'The sealed value is not text');
  } finally {
    plaintext.fill(0);
  }
}

function context(binding: RunValueBinding): EnvelopeContext {
  const { installationId, jobId, id, step, name, segmentId, generation } = binding;
  return {
    domain: 'run-value',
    fields: [installationId, jobId, id.toLowerCase(), step, name, segmentId],
    generation,
  };
}
