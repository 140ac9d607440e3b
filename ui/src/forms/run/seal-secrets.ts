// Secret values of a run, sealed in this browser for each segment that it goes to. Who may not read a segment's key
// sends them over TLS, and the server seals them as they arrive.
import type { SecretParameters } from '@opsconductor/protocol';
import { sealRunValue } from '@opsconductor/protocol/sealing';
import { ApiError } from '../../api/client.ts';
import { fetchVerifiedKey, type VerifiedKey } from '../verified-key.ts';

export interface SentSecrets {
  /** In the clear, for the server to seal. */
  parameters?: Readonly<Record<string, string>>;
  secretParameters?: SecretParameters;
}

/** @throws {SealingError} when a segment's key can't be trusted. */
export async function sealSecrets(
  jobId: number,
  segmentIds: readonly number[],
  secrets: Readonly<Record<string, string>>,
): Promise<SentSecrets> {
  const names = Object.keys(secrets);
  if (names.length === 0) return {};
  const keys = await readableKeys(segmentIds);
  if (keys === undefined) return { parameters: secrets };
  const id = crypto.randomUUID();
  const values: SecretParameters['values'] = {};
  for (const name of names) {
    const value = secrets[name] ?? '';
    values[name] = await Promise.all(
      keys.map(async ({ installationId, segmentId, generation, segmentPublicKey }) => {
        const binding = { installationId, jobId, id, step: '', name, segmentId, generation };
        return { segmentId, sealed: await sealRunValue({ segmentPublicKey, binding, value }) };
      }),
    );
  }
  return { secretParameters: { id, values } };
}

/** Undefined where one of them may not be read. */
async function readableKeys(segmentIds: readonly number[]): Promise<VerifiedKey[] | undefined> {
  try {
    return await Promise.all(segmentIds.map(fetchVerifiedKey));
  } catch (error) {
    if (error instanceof ApiError && (error.code === 'forbidden' || error.code === 'not_found'))
      return undefined;
    throw error;
  }
}
