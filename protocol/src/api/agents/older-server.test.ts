import { Check } from 'typebox/value';
import { expect, test } from 'vitest';
import { type Credential, CredentialSchema } from './credentials.ts';
import { type Segment, SegmentSchema } from './segments.ts';

// Fields added to these later are optional: a server of the previous version omits them, and programs that check its
// answers against the schema would fail after their request has been carried out.

test('a segment from a server of the previous version is accepted', () => {
  const segment: Segment = {
    ...{ id: 3, name: 'vault', description: '', unknownAfter: 300, health: 'healthy' },
    ...{ root: 'owner_held', rootFingerprint: 'SHA256:x', toSign: null, keyGeneration: 1 },
    ...{ targetCount: 0, waitingSteps: 0, keyRotationWantedAt: null, credentialsToRotate: 0 },
    createdAt: '2026-11-24T00:00:00.000Z',
  };
  expect(Check(SegmentSchema, segment)).toBe(true);
});

test('a credential from a server of the previous version is accepted', () => {
  const credential: Credential = {
    ...{ id: '0f3b2f64-6d0e-4f56-9d3c-1b2f6d0e4f56', name: 'vault key', kind: 'ssh_private_key' },
    ...{ segmentId: 3, segmentName: 'vault', version: 1, generation: 1, toRotate: false, description: '' },
    ...{ targetCount: 0, expiresOn: null, createdAt: '2026-11-24T00:00:00.000Z', createdBy: 'ann' },
  };
  expect(Check(CredentialSchema, credential)).toBe(true);
});
