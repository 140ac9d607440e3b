// Seals the secret values of a run in this browser, for each segment that it goes to.
import type { RunSealingKeysRequest, SecretParameters } from '@opsconductor/protocol';
import { sealRunValue } from '@opsconductor/protocol/sealing';
import { fetchRunSealingKeys } from '../../api/jobs/jobs.ts';
import { verifiedKey } from '../verified-key.ts';

/**
 * Returns undefined if there are no secrets.
 *
 * @throws {ApiError} `untrusted` if a segment's key can't be trusted; otherwise refused like the start itself
 */
export async function sealSecrets(
  jobId: number,
  where: RunSealingKeysRequest,
  secrets: Readonly<Record<string, string>>,
): Promise<SecretParameters | undefined> {
  const names = Object.keys(secrets);
  if (names.length === 0) return undefined;
  const { segments } = await fetchRunSealingKeys(jobId, where);
  const keys = await Promise.all(segments.map(verifiedKey));
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
  return { id, values };
}
