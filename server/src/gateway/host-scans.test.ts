import { expect, onTestFinished, test } from 'vitest';
import { createCredential } from '../credentials/edit-credentials.ts';
import { createScan, stopScan } from '../host-keys/create-scan.ts';
import { getScan } from '../host-keys/read-scans.ts';
import { blockedBackends, holdTransaction } from '../runs/testing.ts';
import { sealedCredentialRequest } from '../segments/testing.ts';
import type { Sql } from '../store/database/connection.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { createTarget } from '../targets/edit-targets.ts';
import { setupGateway } from './testing.ts';

async function setup() {
  const t = await setupGateway();
  onTestFinished(() => t[Symbol.asyncDispose]());
  const makeScan = async (count: number) => {
    const targetIds: number[] = [];
    for (let i = 0; i < count; i += 1) {
      const host = { segmentId: t.segmentId, name: `scan-${i}`, host: `scan-${i}.example` };
      targetIds.push((await createTarget(t.sql, host, t.caller)).id);
    }
    const { id } = await createScan(t.sql, { kind: 'keys', selection: { targetIds } }, t.caller);
    return { id, targetIds };
  };
  const scan = (id: number) => getScan(t.sql, id, unrestricted);
  return { t, makeScan, scan };
}

const canScan = { capabilities: ['scan_hosts'] };

function isEndOf(line: string, sessionNumber: number): boolean {
  const { msg, session } = JSON.parse(line) as { msg: string; session?: number };
  return msg === 'agent disconnected' && session === sessionNumber;
}

test('a scan goes to the agent, comes back as reported, and is over with the last target', async () => {
  const { t, makeScan, scan } = await setup();
  const agent = await t.connectAgent(canScan);
  const { id, targetIds } = await makeScan(2);
  const asked = await agent.next('scan_hosts');
  expect(asked).toMatchObject({ scanId: id, kind: 'keys' });
  expect(asked.targets.map((target) => [target.id, target.host, target.port])).toEqual([
    [targetIds[0], 'scan-0.example', 22],
    [targetIds[1], 'scan-1.example', 22],
  ]);
  const tell = (targetId: number) =>
    agent.send({
      type: 'hosts_scanned',
      scanId: id,
      hosts: [{ targetId, ok: false, keys: [], reason: 'unreachable' }],
    });
  tell(targetIds[0] ?? 0);
  await expect.poll(async () => (await scan(id)).done).toBe(1);
  expect((await scan(id)).completedAt).toBeNull();
  tell(targetIds[1] ?? 0);
  await expect.poll(async () => (await scan(id)).completedAt).not.toBeNull();
});

test('targets behind jump hosts are given with the way to them, or report what is missing of it', async () => {
  const { t, scan } = await setup();
  const agent = await t.connectAgent({ capabilities: ['scan_hosts', 'scan_jumps'] });
  const at = { segmentId: t.segmentId, host: '10.0.0.1' };
  const make = (name: string, settings: object, more: object = {}) =>
    createTarget(t.sql, { ...at, name, settings, ...more }, t.caller);
  const sealed = await sealedCredentialRequest(t, t.segmentId, 'bastions');
  const { id: credentialId } = await createCredential(t.sql, sealed, t.caller);
  const hop = await make('hop', {}, { credentialId });
  const bare = await make('bare', {});
  const behind = await make('behind', { jump_hosts: ['hop'] });
  const also = await make('also behind', { jump_hosts: ['hop'] });
  const lost = await make('lost', { jump_hosts: ['hop', 'bare'] });
  const targetIds = [hop.id, bare.id, behind.id, also.id, lost.id];
  const { id } = await createScan(t.sql, { kind: 'keys', selection: { targetIds } }, t.caller);
  const direct = await agent.next('scan_hosts');
  expect(direct.targets.map((target) => target.id)).toEqual([hop.id, bare.id]);
  expect(direct.jumps).toBeUndefined();
  const through = await agent.next('scan_hosts');
  expect(through.targets).toMatchObject([{ id: behind.id, name: 'behind' }, { id: also.id }]);
  expect(through.jumps).toMatchObject([{ target: { name: 'hop', host: '10.0.0.1' } }]);
  await expect.poll(async () => (await scan(id)).done).toBe(1);
  const [item] = await t.sql`select reason, message from host_scan_items where target_id = ${lost.id}`;
  expect(item).toEqual({
    reason: 'jump_host_failed',
    message: 'The jump host “bare” of target “lost” has no credential.',
  });
});

test('an agent that supports no jump hosts does not look for a target in its own network', async () => {
  const { t, scan } = await setup();
  const agent = await t.connectAgent(canScan);
  const at = { segmentId: t.segmentId, host: '10.0.0.1' };
  const hop = await createTarget(t.sql, { ...at, name: 'hop', settings: {} }, t.caller);
  const settings = { jump_hosts: ['hop'] };
  const behind = await createTarget(t.sql, { ...at, name: 'behind', settings }, t.caller);
  const selection = { targetIds: [hop.id, behind.id] };
  const { id } = await createScan(t.sql, { kind: 'keys', selection }, t.caller);
  const asked = await agent.next('scan_hosts');
  expect(asked.targets.map((target) => target.id)).toEqual([hop.id]);
  await expect.poll(async () => (await scan(id)).done).toBe(1);
  const [item] = await t.sql`select reason from host_scan_items where target_id = ${behind.id}`;
  expect(item?.reason).toBe('agent_too_old');
});

test('an agent that is too old is asked nothing and stays connected, and the scan says so', async () => {
  const { t, makeScan, scan } = await setup();
  const agent = await t.connectAgent();
  const { id } = await makeScan(1);
  expect((await scan(id)).notices).toEqual([
    expect.stringMatching(
      /^One target of segment .+ waits\. Agent .+ \(0\.1\.0\) is too old to scan; update it\.$/,
    ),
  ]);
  agent.send({ type: 'heartbeat', sequence: 1, held: [] });
  await agent.next('heartbeat_ack');
  // After an update it reconnects and is asked.
  agent.terminate();
  const updated = await t.connectAgent(canScan);
  expect((await updated.next('scan_hosts')).scanId).toBe(id);
  expect((await scan(id)).notices).toEqual([]);
});

test('targets that an agent had not reported on when its connection ended are given to the next', async () => {
  const { t, makeScan } = await setup();
  const agent = await t.connectAgent(canScan);
  const { id } = await makeScan(3);
  expect((await agent.next('scan_hosts')).targets).toHaveLength(3);
  agent.terminate();
  const next = await t.connectAgent(canScan);
  const asked = await next.next('scan_hosts');
  expect([asked.scanId, asked.targets.length]).toEqual([id, 3]);
});

test('an agent that did not report on its targets in time gets others all the same', async () => {
  const { t, makeScan } = await setup();
  const { id } = await makeScan(100);
  const agent = await t.connectAgent(canScan);
  expect((await agent.next('scan_hosts')).targets).toHaveLength(100);
  await t.sql`update host_scan_items set given_at = given_at - interval '1 day'`;
  const asked = await agent.next('scan_hosts');
  expect([asked.scanId, asked.targets.length]).toEqual([id, 100]);
});

test('an agent that went away while its session was made ready is given nothing, but the next one is', async () => {
  const { t, makeScan } = await setup();
  const first = await t.connectAgent(canScan);
  const { id } = await makeScan(3);
  await first.next('scan_hosts');
  // Taking back items when a session ends, and when the next is ready, waits for these rows.
  const letGo = await holdTransaction(t.sql, (tx) => tx`select 1 from host_scan_items for update`);
  const gone = await t.connectAgent(canScan);
  await blockedBackends(t.sql, 2);
  gone.terminate();
  await expect.poll(() => t.logged.some((line) => isEndOf(line, gone.sessionNumber))).toBe(true);
  await letGo();
  const next = await t.connectAgent(canScan);
  const asked = await next.next('scan_hosts');
  expect([asked.scanId, asked.targets.length]).toEqual([id, 3]);
});

/** Has the database refuse changes of the target's row in this table. */
async function refuseTarget(sql: Sql, table: string, change: string, targetId: number | undefined) {
  const column = table === 'targets' ? 'id' : 'target_id';
  await sql.unsafe(`
    create function refuse_target() returns trigger language plpgsql as $$
      begin raise exception 'this row can not be written'; end $$;
    create trigger refuse before ${change} on ${table} for each row when (new.${column} = ${targetId})
      execute function refuse_target()`);
}

test('a target that the database refuses to give out holds up no other', async () => {
  const { t, makeScan, scan } = await setup();
  const { id, targetIds } = await makeScan(5);
  await refuseTarget(t.sql, 'host_scan_items', 'update', targetIds[0]);
  const agent = await t.connectAgent(canScan);
  const asked = await agent.next('scan_hosts');
  expect(asked.targets.map((target) => target.id)).toEqual(targetIds.slice(1));
  expect(t.logged.join()).toContain('the database refuses to give targets of scans');
  const hosts = targetIds.slice(1).map((targetId) => ({ targetId, ok: true, keys: [] }));
  agent.send({ type: 'hosts_scanned', scanId: id, hosts });
  await expect.poll(async () => (await scan(id)).done).toBe(4);
});

test('what is reported is recorded of every target, except of one of which the database refuses it', async () => {
  const { t, makeScan, scan } = await setup();
  const { id, targetIds } = await makeScan(3);
  await refuseTarget(t.sql, 'targets', 'update', targetIds[1]);
  const agent = await t.connectAgent(canScan);
  await agent.next('scan_hosts');
  const hosts = targetIds.map((targetId) => ({ targetId, ok: true, keys: [] }));
  agent.send({ type: 'hosts_scanned', scanId: id, hosts });
  await expect.poll(async () => (await scan(id)).completedAt).not.toBeNull();
  const items = await t.sql`select state, reason from host_scan_items order by target_id`;
  expect(items).toEqual([
    { state: 'done', reason: null },
    { state: 'failed', reason: 'internal' },
    { state: 'done', reason: null },
  ]);
});

test('a target that can’t be taken back from an agent that is gone keeps the others from no other agent', async () => {
  const { t, makeScan } = await setup();
  const { id, targetIds } = await makeScan(3);
  const agent = await t.connectAgent(canScan);
  await agent.next('scan_hosts');
  await refuseTarget(t.sql, 'host_scan_items', 'update', targetIds[1]);
  agent.terminate();
  const next = await t.connectAgent(canScan);
  const asked = await next.next('scan_hosts');
  expect([asked.scanId, asked.targets.map((target) => target.id)]).toEqual([
    id,
    [targetIds[0], targetIds[2]],
  ]);
});

test('an overdue target that can’t be written keeps no other from being given out again, and no other scan open', async () => {
  const { t, makeScan, scan } = await setup();
  const { targetIds } = await makeScan(1);
  const other = await t.sql`
    insert into host_scans (kind, selection) values ('keys', '{}') returning id`;
  const agent = await t.connectAgent(canScan);
  await agent.next('scan_hosts');
  await t.sql`update host_scan_items set given_at = given_at - interval '1 day'`;
  await refuseTarget(t.sql, 'host_scan_items', 'update', targetIds[0]);
  await expect.poll(async () => (await scan(other[0]?.id)).completedAt).not.toBeNull();
  expect(t.logged.join()).toContain('the database refuses to take back targets of scans');
});

test('a cancelled scan is ended on the agent too', async () => {
  const { t, makeScan, scan } = await setup();
  const agent = await t.connectAgent(canScan);
  const { id } = await makeScan(1);
  await agent.next('scan_hosts');
  await stopScan(t.sql, id, t.caller);
  expect((await agent.next('scan_cancel')).scanId).toBe(id);
  expect(await scan(id)).toMatchObject({ counts: { cancelled: 1 }, cancelledAt: expect.any(String) });
});
