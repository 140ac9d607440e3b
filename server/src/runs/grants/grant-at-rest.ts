// The grant of a signed run under its data key: it holds the run's values.
import type { SignedGrant } from '@opsconductor/protocol/grants';
import { aadOf, openAtRest, sealAtRest } from '../../credentials/at-rest/seal-at-rest.ts';

export function sealGrant(dataKey: Buffer, runId: number, grant: SignedGrant): Buffer {
  return sealAtRest(dataKey, Buffer.from(JSON.stringify(grant)), aadOf('run-grant', runId));
}

export function openGrant(dataKey: Buffer, runId: number, sealed: Buffer): SignedGrant {
  return JSON.parse(openAtRest(dataKey, sealed, aadOf('run-grant', runId)).toString('utf8'));
}
