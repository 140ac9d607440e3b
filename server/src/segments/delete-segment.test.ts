import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Authority } from '../auth/authority.ts';
import { deleteCredential } from '../credentials/edit-credentials.ts';
import { createInventory } from '../inventory/edit-inventories.ts';
import { purgeEndedRun } from '../runs/ends/purge-ended-run.ts';
import { endOf, setupRuns, success, type TestRuns } from '../runs/testing.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { createTarget, deleteTarget } from '../targets/edit-targets.ts';
import { revokeAgent } from './agents/revoke-agent.ts';
import { deleteSegment } from './delete-segment.ts';
import { getSegment } from './list-segments.ts';
import { makeFirstAgent, makeSegment, makeToken } from './testing.ts';

let t: TestRuns;
beforeAll(async () => {
  t = await setupRuns();
});
afterAll(() => t[Symbol.asyncDispose]());

const remove = (id: number) => deleteSegment(t.sql, id, t.caller);
const isThere = (id: number) =>
  getSegment(t.sql, id, unrestricted).then(
    () => true,
    () => false,
  );

describe('deleting a segment', () => {
  it('takes its keys, revoked agents, tokens and grants along, and its name can be given again', async () => {
    const segment = await makeSegment(t, 'plant');
    const { enrolled } = await makeFirstAgent(t, segment.id, 'plant-a');
    await makeToken(t, segment.id);
    await revokeAgent({ ...t, installationId: t.identity.installationId }, enrolled.agentId, t.caller);
    await t.sql`
      insert into role_grants (user_id, role, segment_id) values (${t.caller.userId}, 'operator', ${segment.id})`;
    await remove(segment.id);
    expect(await isThere(segment.id)).toBe(false);
    const left = await t.sql`
      select 'agents' as table from agents where segment_id = ${segment.id}
      union all select 'keys' from segment_keys where segment_id = ${segment.id}
      union all select 'tokens' from enrollment_tokens where segment_id = ${segment.id}
      union all select 'grants' from role_grants where segment_id = ${segment.id}`;
    expect(left).toEqual([]);
    const rows = await t.sql`
      select action, detail from audit_log where segment_id = ${segment.id} and action ~ 'deleted$'
       or action = 'grant.deleted' order by id`;
    expect(rows).toEqual([
      { action: 'grant.deleted', detail: expect.objectContaining({ deletedWith: 'segment' }) },
      { action: 'segment.deleted', detail: { name: 'plant', revokedAgents: 1, grants: 1 } },
    ]);
    expect((await makeSegment(t, 'plant')).id).toBeGreaterThan(segment.id);
  });

  it('is refused while anything belongs to it, and says what and what to do', async () => {
    await createTarget(t.sql, { segmentId: t.segmentId, name: 'one', host: 'one.example.net' }, t.caller);
    await t.addTarget();
    await createInventory(t.sql, { name: 'used', format: 'csv', segmentId: t.segmentId }, t.caller);
    await expect(remove(t.segmentId)).rejects.toMatchObject({
      code: 'conflict',
      message:
        'Segment “dmz-1” still has 2 targets, 1 agent that is not revoked, 1 credential, 1 inventory. It can be deleted once it has none (targets: delete or move them; agents that are not revoked: revoke them; credentials: delete them; inventories: delete them or give them another segment).',
    });
    expect(await isThere(t.segmentId)).toBe(true);
  });

  it('is refused while runs on its targets are kept, even if the targets are gone, and names the newest', async () => {
    await using other = await setupRuns();
    const runIds: number[] = [];
    for (let n = 0; n < 21; n += 1) {
      runIds.unshift(await other.start());
      for (const step of await other.claim()) await other.settle(endOf(step, success));
    }
    for (const { id } of await other.sql<{ id: number }[]>`select id from targets`)
      await deleteTarget(other.sql, id, other.caller);
    for (const { id } of await other.sql<{ id: string }[]>`select id from credentials`)
      await deleteCredential(other.sql, id, other.caller);
    const agents = { ...other, installationId: other.identity.installationId };
    await revokeAgent(agents, other.agent.agentId, other.caller);
    const removed = () => deleteSegment(other.sql, other.segmentId, other.caller);
    await expect(removed()).rejects.toMatchObject({
      code: 'conflict',
      message: `Runs on targets of segment “dmz-1” are still kept: ${runIds.slice(0, 20).join(', ')}, and older ones. It can be deleted once they are purged, or have been removed by --run-retention-days.`,
    });
    for (const runId of runIds.slice(1)) await purgeEndedRun(other.sql, runId, other.caller);
    await expect(removed()).rejects.toMatchObject({
      message: expect.stringContaining(`are still kept: ${runIds[0]}. It can`),
    });
    await purgeEndedRun(other.sql, runIds[0] ?? 0, other.caller);
    await removed();
    expect(await other.sql`select id from segments`).toEqual([]);
  });

  it('waits for a target that is being made, and then is refused', async () => {
    const { id } = await makeSegment(t, 'race');
    const made = createTarget(t.sql, { segmentId: id, name: 'late', host: 'late.example.net' }, t.caller);
    const [target, removed] = await Promise.allSettled([made, remove(id)]);
    // Either of the two may come first; then the other one is refused.
    expect([target.status, removed.status].toSorted()).toEqual(['fulfilled', 'rejected']);
    expect(await isThere(id)).toBe(target.status === 'fulfilled');
    const refused = target.status === 'rejected' ? target.reason : (removed as PromiseRejectedResult).reason;
    expect(['invalid', 'conflict']).toContain(refused.code);
  });

  it('is not found by those who may not read it, and forbidden to those who may only read', async () => {
    const { id } = await makeSegment(t, 'other');
    const as = (authority: Authority) => deleteSegment(t.sql, id, { ...t.caller, authority });
    await expect(as(new Authority([]))).rejects.toMatchObject({ code: 'not_found' });
    const reader = new Authority([{ role: 'viewer', permission: null, scope: null }]);
    await expect(as(reader)).rejects.toMatchObject({ code: 'forbidden' });
    await expect(remove(999_999)).rejects.toMatchObject({ code: 'not_found' });
    expect(await isThere(id)).toBe(true);
  });
});
