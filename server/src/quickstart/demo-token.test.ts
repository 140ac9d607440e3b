import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { enrollAgent } from '../segments/enrollment/enroll-agent.ts';
import {
  enrollRequest,
  makeAgentKeys,
  makeSegment,
  setupInstallation,
  testOrigin,
} from '../segments/testing.ts';
import { demoToken } from './demo-content.ts';

async function setup() {
  const t = await setupInstallation();
  onTestFinished(() => t.close());
  const folder = await mkdtemp(join(tmpdir(), 'demo-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const segment = await makeSegment(t);
  const server = { sql: t.sql, localUrl: 'http://127.0.0.1:1', caPin: undefined };
  return {
    ...t,
    token: () => demoToken(server, folder, segment.id, t.caller),
    expire: () => t.sql`update enrollment_tokens set expires_at = clock_timestamp()`,
  };
}

test('a first start that continues after its token has expired makes another token', async () => {
  const t = await setup();
  const first = await t.token();
  expect(await t.token()).toBe(first);
  await t.expire();
  const second = await t.token();
  expect(second).not.toBe(first);
  const request = await enrollRequest(second, 'quickstart-agent', await makeAgentKeys());
  expect(await enrollAgent(t, request, testOrigin)).toMatchObject({ makesSegmentKey: true });
});

test('a used token is kept, because an interrupted enrollment can only continue with it', async () => {
  const t = await setup();
  const first = await t.token();
  await enrollAgent(t, await enrollRequest(first, 'quickstart-agent', await makeAgentKeys()), testOrigin);
  await t.expire();
  expect(await t.token()).toBe(first);
});
