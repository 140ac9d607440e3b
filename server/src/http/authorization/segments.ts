// What the routes of segments, agents, credentials, host trust and scans need.
import { changing, everywhere, listing, type Needs, reading, sides, theSegment } from './needs.ts';

const theScan = 'any target of the scan; shows the targets that are seen';

/** A decision about an agent. None of them changes the world for the rest of the walk. */
function managing(verb: string, json?: unknown, which: 'live' | 'revoked' = 'live'): Needs {
  return changing('agents.manage', theSegment, (side) => ({
    path: `${which === 'live' ? side.agentId : side.revokedAgentId}/${verb}`,
    ...(json === undefined ? {} : { json }),
    place: side.segment,
  }));
}

export const segmentNeeds: Record<string, Needs> = {
  'GET segments': listing('the segment; for its name, a group that reaches into it is enough', (world) =>
    sides(world).map((side) => ({ text: `"name":"${side.name}"`, seen: [side.segment, side.target] })),
  ),
  'POST segments': everywhere('segments.edit'),
  'GET segments/:id': reading('the segment', (side) => ({ path: side.segmentId, place: side.segment })),
  'DELETE segments/:id': everywhere('segments.edit'),
  'POST segments/:id/enrollment-tokens': changing('agents.enroll', 'the segment', (side) => ({
    path: `${side.segmentId}/enrollment-tokens`,
    place: side.segment,
  })),
  'GET segments/:id/enrollment-tokens': changing('agents.enroll', 'the segment', (side) => ({
    path: `${side.segmentId}/enrollment-tokens`,
    place: side.segment,
  })),
  'DELETE segments/:id/enrollment-tokens/:token': changing('agents.enroll', 'the segment', (side) => ({
    path: `${side.segmentId}/enrollment-tokens/${side.enrollmentTokenId}`,
    place: side.segment,
  })),
  'GET segments/:id/sealing-key': changing('credentials.edit', 'the segment', (side) => ({
    path: `${side.segmentId}/sealing-key`,
    place: side.segment,
  })),
  'GET segments/:id/roster': reading('the segment', (side) => ({
    path: `${side.segmentId}/roster`,
    place: side.segment,
  })),
  // These segments have managed roots, so that a roster is refused.
  'POST segments/:id/roster': changing('agents.manage', 'the segment', (side) => ({
    path: `${side.segmentId}/roster`,
    json: { payload: '{}', signature: 'A'.repeat(88) },
    place: side.segment,
  })),
  'GET segments/:id/recovery': changing('agents.manage', 'the segment', (side) => ({
    path: `${side.segmentId}/recovery`,
    place: side.segment,
  })),
  // No agent has this number.
  'POST segments/:id/recovery': changing('agents.manage', 'the segment', (side) => ({
    path: `${side.segmentId}/recovery`,
    json: {
      agentId: 999_999,
      wraps: [{ generation: 1, wrapped: Buffer.alloc(81).toString('base64') }],
    },
    place: side.segment,
  })),
  'GET segments/:id/settings': reading('the segment', (side) => ({
    path: `${side.segmentId}/settings`,
    place: side.segment,
  })),
  'PUT segments/:id/settings': changing('segments.edit', 'the segment', (side) => ({
    path: `${side.segmentId}/settings`,
    json: { settings: {}, credentialId: null },
    place: side.segment,
  })),
  'PUT segments/:id/unknown-after': changing('segments.edit', 'the segment', (side) => ({
    path: `${side.segmentId}/unknown-after`,
    json: { unknownAfter: 300 },
    place: side.segment,
  })),
  'GET agents': listing(theSegment, (world) =>
    sides(world).map((side) => ({ text: `"name":"${side.name}-agent"`, seen: [side.segment] })),
  ),
  'GET agents/:id': reading(theSegment, (side) => ({ path: side.agentId, place: side.segment })),
  'PUT agents/:id/labels': managing('labels', { labels: {} }),
  'POST agents/:id/undrain': managing('undrain'),
  'POST agents/:id/enable': managing('enable'),
  // On an agent that was revoked long ago, so that the others stay as they are.
  'POST agents/:id/drain': managing('drain', undefined, 'revoked'),
  'POST agents/:id/disable': managing('disable', undefined, 'revoked'),
  'POST agents/:id/new-keys': managing('new-keys', undefined, 'revoked'),
  'POST agents/:id/revoke': managing('revoke', undefined, 'revoked'),

  'GET segments/:id/host-trust': reading('the segment', (side) => ({
    path: `${side.segmentId}/host-trust`,
    place: side.segment,
  })),
  // This is not a key.
  'POST segments/:id/host-trust': changing('host_keys.approve', 'the segment', (side) => ({
    path: `${side.segmentId}/host-trust`,
    json: { kind: 'authority', publicKey: 'none' },
    place: side.segment,
  })),
  // No entry has this number.
  'DELETE segments/:id/host-trust/:entry': changing('host_keys.approve', 'the segment', (side) => ({
    path: `${side.segmentId}/host-trust/999999`,
    place: side.segment,
  })),
  'POST known-hosts/plan': changing('host_keys.approve', 'the segment', (side) => ({
    path: '',
    json: { segmentId: side.segmentId, content: '# empty' },
    place: side.segment,
  })),
  // The file has another digest.
  'POST known-hosts/apply': changing('host_keys.approve', 'the segment', (side) => ({
    path: '',
    json: { segmentId: side.segmentId, content: '# empty', digest: '0'.repeat(64) },
    place: side.segment,
  })),

  'GET host-scans': listing(theScan, (world) =>
    sides(world).map((side) => ({ text: `"id":${side.scanId},"kind"`, seen: [side.target] })),
  ),
  'GET host-scans/:id': reading(theScan, (side) => ({ path: side.scanId, place: side.target })),
  'GET host-scans/:id/items': reading(theScan, (side) => ({
    path: `${side.scanId}/items`,
    place: side.target,
  })),
  'POST host-scans': changing(
    'targets.test',
    'each of the targets, and `credentials.use` on the jump hosts in front of it',
    (side) => ({
      path: '',
      json: { kind: 'reach', selection: { targetIds: [side.targetId] } },
      place: side.target,
    }),
  ),
  'POST host-scans/:id/cancel': changing('targets.test', 'each target of the scan', (side) => ({
    path: `${side.scanId}/cancel`,
    place: side.target,
  })),
  // The target has shown no such key.
  'POST host-scans/:id/approve': changing('host_keys.approve', 'each of the targets', (side) => ({
    path: `${side.scanId}/approve`,
    json: { keys: [{ targetId: side.targetId, fingerprint: `SHA256:${'A'.repeat(43)}` }] },
    place: side.target,
  })),

  'GET credentials': listing(theSegment, (world) =>
    sides(world).map((side) => ({ text: `"name":"${side.name}-key"`, seen: [side.segment] })),
  ),
  'POST credentials': changing('credentials.edit', theSegment, (side) => ({
    path: '',
    json: staleCredential(side.segmentId),
    place: side.segment,
    unseen: 400,
  })),
  'GET credentials/:id': reading(theSegment, (side) => ({ path: side.credentialId, place: side.segment })),
  'GET credentials/:id/usage': reading(theSegment, (side) => ({
    path: `${side.credentialId}/usage`,
    place: side.segment,
  })),
  // There is no such day.
  'PUT credentials/:id': changing('credentials.edit', theSegment, (side) => ({
    path: side.credentialId,
    json: { description: '', expiresOn: '2027-02-30' },
    place: side.segment,
  })),
  'POST credentials/:id/versions': changing('credentials.edit', theSegment, (side) => ({
    path: `${side.credentialId}/versions`,
    json: { version: 2, sealed: staleCredential(side.segmentId).sealed },
    place: side.segment,
  })),
  // A target uses it, so that it is not deleted.
  'DELETE credentials/:id': changing('credentials.edit', theSegment, (side) => ({
    path: side.credentialId,
    place: side.segment,
  })),
};

/** Sealed to a generation that never existed, so that it is refused after all rights were checked. */
function staleCredential(segmentId: number) {
  const bytes = (length: number) => Buffer.alloc(length).toString('base64');
  return {
    id: '00000000-0000-4000-8000-000000000001',
    segmentId,
    name: 'stale',
    kind: 'ssh_password',
    sealed: {
      v: 1,
      generation: 99,
      enc: bytes(32),
      wrappedKey: bytes(48),
      nonce: bytes(12),
      ciphertext: bytes(272),
    },
  };
}
