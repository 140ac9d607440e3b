// Encrypts the grant of a signed run with the run's data key, because the grant contains the run's values.
import type { SignedGrant } from '@opsconductor/protocol/grants';
import { aadOf, openAtRest, sealAtRest } from '../../credentials/at-rest/seal-at-rest.ts';

export function sealGrant(dataKey: Buffer, runId: number, grant: SignedGrant): Buffer {
  return sealAtRest(dataKey, Buffer.from(JSON.stringify(grant)), aadOf('run-grant', runId));
}

export function openGrant(dataKey: Buffer, runId: number, sealed: Buffer): SignedGrant {
  return JSON.parse(openAtRest(dataKey, sealed, aadOf('run-grant', runId)).toString('utf8'));
}
