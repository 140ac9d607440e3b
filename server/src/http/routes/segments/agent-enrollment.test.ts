import { randomBytes, randomUUID } from 'node:crypto';
import { formatEnrollmentToken } from '@opsconductor/protocol';
import { generateSigningKeyPair } from '@opsconductor/protocol/sealing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { EnrollmentLimits } from '../../../auth/limits/enrollment-limits.ts';
import { newMasterKey } from '../../../credentials/at-rest/master-key.ts';
import { enrollRequest, makeAgentKeys } from '../../../segments/testing.ts';
import { setupApp, type TestApp } from '../../testing.ts';
import { agentEnrollmentRoutes } from './agent-enrollment.ts';

let t: TestApp;
beforeAll(async () => {
  const identity = { installationId: randomUUID(), serverKey: await generateSigningKeyPair() };
  t = await setupApp(({ sql, clock }) =>
    agentEnrollmentRoutes({
      sql,
      masterKey: newMasterKey(),
      identity,
      limits: new EnrollmentLimits(clock.now),
    }),
  );
});
afterAll(() => t.close());

it('a refused enrollment is audited with the claimed name, but repeated refusals are not', async () => {
  for (let tries = 0; tries < 40; tries++) {
    const token = formatEnrollmentToken({
      secret: randomBytes(32).toString('base64url'),
      rootSha256: 'ab'.repeat(32),
    });
    const json = await enrollRequest(token, 'rogue-agent', await makeAgentKeys());
    const reply = await t.request('POST', '/api/v1/agent/enroll', { json });
    expect(reply.status).toBe(401);
  }
  const rows = await t.sql`select actor_kind, actor_name, action, detail, address from audit_log`;
  expect(rows[0]).toMatchObject({
    actorKind: 'anonymous',
    actorName: 'rogue-agent',
    action: 'agent.enrollment_refused',
    detail: { reason: expect.stringContaining('not known here') },
  });
  expect(rows).toHaveLength(30);
});
