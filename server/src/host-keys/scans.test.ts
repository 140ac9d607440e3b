import { type Permission, type ScannedHost, scanFindings } from '@opsconductor/protocol';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { searchLog } from '../audit/reading/search-log.ts';
import { Authority, type Reach } from '../auth/authority.ts';
import type { Caller } from '../caller.ts';
import {
  makeFirstAgent,
  makeSegment,
  setupInstallation,
  type TestInstallation,
  waitUntilBlocked,
} from '../segments/testing.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { giveItems, sweepScans, takeBackItems } from '../store/host-keys/host-scans.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { writeContact } from '../store/targets/target-contacts.ts';
import { deleteTargets } from '../store/targets/targets.ts';
import { createTarget } from '../targets/edit-targets.ts';
import { recordSeenHostKey } from '../targets/host-keys.ts';
import { getTarget } from '../targets/list-targets.ts';
import { approveScan } from './approve-scan.ts';
import { createScan, stopScan } from './create-scan.ts';
import { addTrust } from './edit-host-trust.ts';
import { getScan, listItems } from './read-scans.ts';
import { recordScanned } from './record-scanned.ts';
import { makeHostKey } from './testing.ts';

let t: TestInstallation;
let segmentId: number;
let agentId: number;
let made = 0;
beforeAll(async () => {
  t = await setupInstallation();
  segmentId = (await makeSegment(t, 'scanned')).id;
  agentId = (await makeFirstAgent(t, segmentId, 'scanned-a')).enrolled.agentId;
});
afterAll(() => t.close());

async function makeTargets(count: number): Promise<number[]> {
  const ids: number[] = [];
  for (let i = 0; i < count; i += 1) {
    made += 1;
    const name = `host-${String(made).padStart(3, '0')}`;
    ids.push((await createTarget(t.sql, { segmentId, name, host: `${name}.example` }, t.caller)).id);
  }
  return ids;
}

/** Makes a scan of these targets, each of which shows what is given. */
async function scan(shown: Map<number, Partial<ScannedHost>>): Promise<number> {
  const targetIds = [...shown.keys()];
  const { id } = await createScan(t.sql, { kind: 'keys', selection: { targetIds } }, t.caller);
  const given = await giveItems(t.sql, { agentId, segmentId, sessionNumber: 1 }, { limit: 100 });
  const places = new Map(given.map((item) => [item.targetId, { host: item.host, port: item.port ?? 22 }]));
  const hosts = [...shown].map(([targetId, host]) => ({ targetId, ok: true, keys: [], ...host }));
  await recordScanned(t.sql, { agentId, scanId: id }, hosts, (targetId) => places.get(targetId));
  return id;
}

async function findings(scanId: number): Promise<string[]> {
  return (await listItems(t.sql, scanId, {}, unrestricted)).items.map((item) => item.finding);
}

async function acceptedOf(targetId: number): Promise<string[]> {
  const { hostKeys } = await getTarget(t.sql, targetId, unrestricted);
  return hostKeys.filter((key) => key.state === 'accepted').map((key) => key.fingerprint);
}

async function accept(targetId: number, line: string): Promise<void> {
  const id = await scan(new Map([[targetId, { keys: [line] }]]));
  const { review } = await getScan(t.sql, id, unrestricted);
  await approveScan(t.sql, id, { all: { finding: 'new', digest: review.new.digest } }, t.caller);
}

test('a scan distinguishes new, same, added, changed and unreachable, and which hosts share a key', async () => {
  const [fresh, twin, same, added, changed, gone] = (await makeTargets(6)) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const [shared, known, more, before, now] = [1, 2, 3, 4, 5].map(() => makeHostKey()) as ReturnType<
    typeof makeHostKey
  >[];
  const rsa = makeHostKey('ssh-rsa');
  await accept(same, known?.line ?? '');
  await accept(added, more?.line ?? '');
  await accept(changed, before?.line ?? '');
  const id = await scan(
    new Map<number, Partial<ScannedHost>>([
      [fresh, { keys: [shared?.line ?? ''] }],
      [twin, { keys: [shared?.line ?? ''] }],
      [same, { keys: [known?.line ?? ''] }],
      [added, { keys: [more?.line ?? '', rsa.line] }],
      [changed, { keys: [now?.line ?? ''] }],
      [gone, { ok: false, reason: 'connection_refused', message: 'Nothing listens.' }],
    ]),
  );
  expect(await findings(id)).toEqual(['new', 'new', 'same', 'added', 'changed', 'unreachable']);
  // Filtering by a finding returns what is counted under it.
  for (const finding of scanFindings) {
    const all = (await listItems(t.sql, id, {}, unrestricted)).items.filter((one) => one.finding === finding);
    expect((await listItems(t.sql, id, { finding }, unrestricted)).items).toEqual(all);
  }
  const detail = await getScan(t.sql, id, unrestricted);
  expect(detail).toMatchObject({ total: 6, done: 6, shared: 2, completedAt: expect.any(String) });
  expect(detail.review).toMatchObject({ new: { targets: 2, keys: 2 }, added: { targets: 1, keys: 1 } });
  const { items } = await listItems(t.sql, id, { shared: true }, unrestricted);
  expect(items.map((item) => item.keys[0]?.sharedWith)).toEqual([[items[1]?.name], [items[0]?.name]]);
  const [changedItem] = (await listItems(t.sql, id, { finding: 'changed' }, unrestricted)).items;
  expect(changedItem).toMatchObject({
    keys: [{ fingerprint: now?.fingerprint, accepted: false }],
    accepted: [{ fingerprint: before?.fingerprint, source: 'scan' }],
  });
});

test('a scan tells its reader for which targets they may accept keys, and whether they may for all new keys', async () => {
  const [first, second] = (await makeTargets(2)) as [number, number];
  const id = await scan(new Map([first, second].map((target) => [target, { keys: [makeHostKey().line] }])));
  const [group] = await t.sql<
    { id: number }[]
  >`insert into target_groups (name) values ('first') returning id`;
  await t.sql`insert into target_group_members (target_group_id, target_id) values (${group?.id ?? 0}, ${first})`;
  const told = async (approvable: Partial<Reach>) => {
    const nowhere: Reach = { everywhere: false, categoryIds: [], segmentIds: [], targetGroupIds: [] };
    const reaches = [{ ...nowhere, ...approvable }];
    const { review } = await getScan(t.sql, id, unrestricted, reaches);
    const { items } = await listItems(t.sql, id, {}, unrestricted, reaches);
    return [review.new.mayApprove, ...items.map(({ mayApprove }) => mayApprove)];
  };
  expect(await told({})).toEqual([false, false, false]);
  expect(await told({ targetGroupIds: [group?.id ?? 0] })).toEqual([false, true, false]);
  expect(await told({ segmentIds: [segmentId] })).toEqual([true, true, true]);
  expect(await told({ everywhere: true })).toEqual([true, true, true]);
});

test('all new keys are approved in one request, with every fingerprint in the audit log, but no changed ones', async () => {
  const [first, second, changed] = (await makeTargets(3)) as [number, number, number];
  const [a, b, before, now] = [1, 2, 3, 4].map(() => makeHostKey()) as [
    ReturnType<typeof makeHostKey>,
    ReturnType<typeof makeHostKey>,
    ReturnType<typeof makeHostKey>,
    ReturnType<typeof makeHostKey>,
  ];
  await accept(changed, before.line);
  await writeContact(t.sql, first, { ok: false, reason: 'host_key_unknown' });
  await writeContact(t.sql, second, { ok: false, reason: 'connection_refused' });
  await writeContact(t.sql, changed, { ok: false, reason: 'host_key_mismatch' });
  const id = await scan(
    new Map([
      [first, { keys: [a.line] }],
      [second, { keys: [b.line] }],
      [changed, { keys: [now.line] }],
    ]),
  );
  const { review } = await getScan(t.sql, id, unrestricted);
  const reply = await approveScan(
    t.sql,
    id,
    { all: { finding: 'new', digest: review.new.digest } },
    t.caller,
  );
  const failing = async (target: number) => (await getTarget(t.sql, target, unrestricted)).health;
  expect([await failing(first), await failing(second), await failing(changed)]).toEqual([
    'never',
    'failing',
    'failing',
  ]);
  expect(reply).toEqual({ targets: 2, keys: 2, replaced: 0 });
  expect([await acceptedOf(first), await acceptedOf(second)]).toEqual([[a.fingerprint], [b.fingerprint]]);
  expect(await acceptedOf(changed)).toEqual([before.fingerprint]);
  const rows = await t.sql<{ fingerprints: string[] }[]>`
    select detail -> 'fingerprints' as fingerprints from audit_log
    where action = 'host_key.accepted' and detail ->> 'scan' = ${String(id)} order by id`;
  expect(rows.map((row) => row.fingerprints)).toEqual([[a.fingerprint], [b.fingerprint]]);
  // Repeating it is refused: this is no longer what was shown.
  await expect(
    approveScan(t.sql, id, { all: { finding: 'new', digest: review.new.digest } }, t.caller),
  ).rejects.toMatchObject({ code: 'conflict' });
});

test('a key that has changed since it was shown is refused by name, and nothing else is accepted', async () => {
  const [first, second] = (await makeTargets(2)) as [number, number];
  const [a, b, other] = [makeHostKey(), makeHostKey(), makeHostKey()];
  const id = await scan(
    new Map([
      [first, { keys: [a.line] }],
      [second, { keys: [b.line] }],
    ]),
  );
  const { review } = await getScan(t.sql, id, unrestricted);
  await inTransaction(t.sql, (tx) => recordSeenHostKey(tx, { targetId: second, hostKeyLine: other.line }));
  await expect(
    approveScan(t.sql, id, { all: { finding: 'new', digest: review.new.digest } }, t.caller),
  ).rejects.toMatchObject({
    code: 'conflict',
    message: expect.stringContaining(`has shown another key since: ${other.fingerprint}`),
  });
  expect([await acceptedOf(first), await acceptedOf(second)]).toEqual([[], []]);
  // A key that is picked individually is still accepted.
  await approveScan(t.sql, id, { keys: [{ targetId: first, fingerprint: a.fingerprint }] }, t.caller);
  expect(await acceptedOf(first)).toEqual([a.fingerprint]);
  await t.sql`update targets set host = 'elsewhere.example' where id = ${second}`;
  await expect(
    approveScan(t.sql, id, { keys: [{ targetId: second, fingerprint: b.fingerprint }] }, t.caller),
  ).rejects.toMatchObject({ code: 'conflict', message: expect.stringContaining('another host or port') });
});

test('a changed key needs its own confirmation, which names what it replaces', async () => {
  const [id] = (await makeTargets(1)) as [number];
  const [before, now] = [makeHostKey(), makeHostKey()];
  await accept(id, before.line);
  const scanId = await scan(new Map([[id, { keys: [now.line] }]]));
  const fingerprints = [now.fingerprint];
  await expect(
    approveScan(t.sql, scanId, { keys: [{ targetId: id, fingerprint: now.fingerprint }] }, t.caller),
  ).rejects.toMatchObject({ code: 'conflict', message: expect.stringContaining('is changed') });
  await expect(
    approveScan(
      t.sql,
      scanId,
      { replace: [{ targetId: id, fingerprints, replaces: fingerprints }] },
      t.caller,
    ),
  ).rejects.toMatchObject({ message: expect.stringContaining(before.fingerprint) });
  const replaces = [before.fingerprint];
  const reply = await approveScan(
    t.sql,
    scanId,
    { replace: [{ targetId: id, fingerprints, replaces }] },
    t.caller,
  );
  expect(reply).toEqual({ targets: 1, keys: 1, replaced: 1 });
  expect(await acceptedOf(id)).toEqual([now.fingerprint]);
});

test('a changed key found by scans is kept at its target, and is in the audit log exactly once', async () => {
  const [id, same] = (await makeTargets(2)) as [number, number];
  const [before, now, kept] = [makeHostKey(), makeHostKey(), makeHostKey()];
  await accept(id, before.line);
  await accept(same, kept.line);
  const shown = new Map([
    [id, { keys: [now.line, makeHostKey('ssh-rsa').line] }],
    [same, { keys: [kept.line, makeHostKey('ssh-rsa').line] }],
  ]);
  await scan(shown);
  await scan(shown);
  const offered = async (targetId: number) =>
    (await getTarget(t.sql, targetId, unrestricted)).hostKeys
      .filter((key) => key.state !== 'accepted')
      .map((key) => [key.state, key.fingerprint]);
  expect(await offered(id)).toEqual([['changed', now.fingerprint]]);
  expect(await offered(same)).toEqual([]);
  // A step that then meets the key has nothing new to report.
  await inTransaction(t.sql, (tx) => recordSeenHostKey(tx, { targetId: id, hostKeyLine: now.line }));
  const rows = await t.sql<{ object: string; detail: unknown }[]>`
    select object_id::text as object, detail from audit_log
    where action = 'host_key.changed' and object_id in (${String(id)}, ${String(same)})`;
  expect(rows).toMatchObject([
    { object: String(id), detail: { offered: now.fingerprint, accepted: [before.fingerprint] } },
  ]);
  await scan(new Map([[id, { keys: [before.line] }]]));
  expect(await offered(id)).toEqual([]);
});

test('the pages of a finding are in the order of names, and show hosts on other pages that share a key', async () => {
  const ids = await makeTargets(5);
  const twin = makeHostKey();
  const other = makeHostKey();
  const shown = ids.map((id, at): [number, { keys: string[] }] => [
    id,
    { keys: [at === 2 ? other.line : twin.line] },
  ]);
  const id = await scan(new Map(shown));
  for (const query of [{}, { finding: 'new' as const }]) {
    const seen: number[] = [];
    let cursor: string | undefined;
    do {
      const page = await listItems(
        t.sql,
        id,
        { ...query, limit: 2, ...(cursor === undefined ? {} : { cursor }) },
        unrestricted,
      );
      seen.push(...page.items.map((item) => item.targetId));
      cursor = page.nextCursor ?? undefined;
      for (const { keys, name } of page.items) {
        const [key] = keys;
        if (key?.fingerprint === other.fingerprint)
          expect(key).toMatchObject({ sharedBy: 0, sharedWith: [] });
        else {
          expect(key?.sharedBy).toBe(3);
          expect(key?.sharedWith).toHaveLength(3);
          expect(key?.sharedWith).not.toContain(name);
        }
      }
    } while (cursor !== undefined);
    expect(seen).toEqual(ids);
  }
  const { items } = await listItems(t.sql, id, { shared: true, limit: 10 }, unrestricted);
  expect(items.map((item) => item.targetId)).toEqual(ids.filter((_, at) => at !== 2));
  const found = await listItems(t.sql, id, { shared: true, search: items[1]?.name ?? '' }, unrestricted);
  expect(found.items.map((item) => item.targetId)).toEqual([ids[1]]);
});

test('a key that is revoked is no longer accepted, and later scans find it as revoked', async () => {
  const [id] = (await makeTargets(1)) as [number];
  const key = makeHostKey();
  await accept(id, key.line);
  await addTrust(t.sql, segmentId, { kind: 'revoked', publicKey: key.line }, t.caller);
  expect(await acceptedOf(id)).toEqual([]);
  const scanId = await scan(new Map([[id, { keys: [key.line] }]]));
  expect(await findings(scanId)).toEqual(['revoked']);
  const revoked = await listItems(t.sql, scanId, { finding: 'revoked' }, unrestricted);
  expect(revoked.items.map((item) => item.targetId)).toEqual([id]);
  expect((await listItems(t.sql, scanId, { finding: 'new' }, unrestricted)).items).toEqual([]);
  await expect(
    approveScan(t.sql, scanId, { keys: [{ targetId: id, fingerprint: key.fingerprint }] }, t.caller),
  ).rejects.toMatchObject({ code: 'conflict' });
});

test('a certified host needs no approval, for as long as its authority is trusted', async () => {
  const [id] = (await makeTargets(1)) as [number];
  const [authority, key] = [makeHostKey(), makeHostKey()];
  const certified = { authority: authority.fingerprint, keyId: 'h' };
  const scanId = await scan(new Map([[id, { keys: [key.line], certified }]]));
  expect(await findings(scanId)).toEqual(['new']);
  await addTrust(t.sql, segmentId, { kind: 'authority', publicKey: authority.line }, t.caller);
  expect(await findings(scanId)).toEqual(['certified']);
  const { items } = await listItems(t.sql, scanId, { finding: 'certified' }, unrestricted);
  expect(items).toMatchObject([{ targetId: id, certified: { authority: authority.fingerprint } }]);
});

test('targets that an agent had when it disconnected are given out again, and a canceled scan accepts no more results', async () => {
  const [id] = (await makeTargets(1)) as [number];
  const selection = { targetIds: [id] };
  const { id: scanId } = await createScan(t.sql, { kind: 'reach', selection }, t.caller);
  const agent = { agentId, segmentId, sessionNumber: 7 };
  expect(await giveItems(t.sql, agent, { limit: 10 })).toMatchObject([
    { scanId, targetId: id, kind: 'reach' },
  ]);
  expect(await giveItems(t.sql, agent, { limit: 10 })).toEqual([]);
  await takeBackItems(t.sql, { agentId, sessionNumber: 8 }, { including: false });
  expect(await giveItems(t.sql, { ...agent, sessionNumber: 8 }, { limit: 10 })).toHaveLength(1);
  await stopScan(t.sql, scanId, t.caller);
  await recordScanned(t.sql, { agentId, scanId }, [{ targetId: id, ok: true, keys: [] }], () => ({
    host: 'h',
    port: 22,
  }));
  expect(await findings(scanId)).toEqual(['cancelled']);
});

test('an auditor of one segment of a scan sees that it was canceled, and how many targets it had in that segment', async () => {
  const here = await makeTargets(2);
  const other = (await makeSegment(t, 'scanned too')).id;
  const there = (await createTarget(t.sql, { segmentId: other, name: 'there', host: 'h' }, t.caller)).id;
  const selection = { targetIds: [...here, there] };
  const { id } = await createScan(t.sql, { kind: 'reach', selection }, t.caller);
  await stopScan(t.sql, id, t.caller);
  for (const [segment, targets] of [
    [segmentId, 2],
    [other, 1],
  ] as const) {
    const scope = { kind: 'segment', id: segment } as const;
    const auditor = new Authority([{ role: null, permission: 'audit.read', scope }]);
    const query = { action: 'host_scan.', objectId: String(id) };
    const { items } = await searchLog(t.sql, query, auditor.reach('audit.read'));
    expect(items.map(({ action, segmentId, detail }) => [action, segmentId, detail])).toMatchObject([
      ['host_scan.cancelled', segment, { targets }],
      ['host_scan.started', segment, { targets }],
    ]);
  }
});

test('targets that were given out but never reported on wait again, and targets that no agent takes are given up with a reason', async () => {
  const [id] = (await makeTargets(1)) as [number];
  const { id: scanId } = await createScan(t.sql, { kind: 'keys', selection: { targetIds: [id] } }, t.caller);
  await giveItems(t.sql, { agentId, segmentId, sessionNumber: 9 }, { limit: 10 });
  await t.sql`update host_scan_items set given_at = given_at - interval '10 minutes' where scan_id = ${scanId}`;
  await sweepScans(t.sql);
  expect((await getScan(t.sql, scanId, unrestricted)).notices).toEqual([
    'One target of segment scanned waits: none of its agents is connected.',
  ]);
  await t.sql`update host_scans set created_at = created_at - interval '2 hours' where id = ${scanId}`;
  await sweepScans(t.sql);
  const [item] = (await listItems(t.sql, scanId, {}, unrestricted)).items;
  expect(item).toMatchObject({ finding: 'unreachable', reason: 'agents_offline' });
  expect((await getScan(t.sql, scanId, unrestricted)).completedAt).not.toBeNull();
});

test('the result of a reachability scan is shown at the target, next to its last login', async () => {
  const [id] = (await makeTargets(1)) as [number];
  await scan(new Map([[id, { keys: [makeHostKey().line], latencyMs: 12.5 }]]));
  const target = await getTarget(t.sql, id, unrestricted);
  expect(target.lastProbe).toMatchObject({ ok: true, latencyMs: 12.5 });
  expect(target.health).toBe('never');
});

test('approving keys needs the right on each target, and a refusal names the targets where it is missing', async () => {
  const [id] = (await makeTargets(1)) as [number];
  const key = makeHostKey();
  const scanId = await scan(new Map([[id, { keys: [key.line] }]]));
  const authority = new Authority([{ role: 'operator', permission: null, scope: null }]);
  const caller = { ...t.caller, authority };
  await expect(
    approveScan(t.sql, scanId, { keys: [{ targetId: id, fingerprint: key.fingerprint }] }, caller),
  ).rejects.toMatchObject({ code: 'forbidden' });
});

test('scanning through a jump host needs the right on its credential', async () => {
  const [hop, other] = (await makeTargets(2)) as [number, number];
  const settings = { jump_hosts: [(await getTarget(t.sql, hop, unrestricted)).name] };
  const place = { segmentId, host: '10.0.0.9', settings };
  const behind = (await createTarget(t.sql, { ...place, name: 'behind' }, t.caller)).id;
  const may = (permission: Permission) => ({ role: null, permission, scope: null });
  // No jump host is used for WinRM.
  const ofWinrm = { ...place, settings: { ...settings, protocol: 'winrm' as const } };
  const windows = (await createTarget(t.sql, { ...ofWinrm, name: 'windows' }, t.caller)).id;
  const asker = (...more: Permission[]) => {
    const authority = new Authority([may('read'), may('targets.test'), ...more.map(may)]);
    return { ...t.caller, authority };
  };
  const ask = (caller: Caller, ...targetIds: number[]) =>
    createScan(t.sql, { kind: 'reach', selection: { targetIds } }, caller);
  await expect(ask(asker(), other, behind)).rejects.toMatchObject({
    permission: 'credentials.use',
    details: [{ found: 'behind', message: expect.stringContaining('which is on the way to') }],
  });
  for (const { id } of [
    await ask(asker(), hop, other, windows),
    await ask(asker('credentials.use'), behind),
  ]) {
    await stopScan(t.sql, id, t.caller);
  }
});

test('a scan of a target that is deleted while the scan begins leaves it out, or does not find it if it was named', async () => {
  const [kept = 0, byId = 0, bySelector = 0] = await makeTargets(3);
  const label = { vanishing: '' };
  await t.sql`update targets set labels = ${t.sql.json(label)} where id in ${t.sql([kept, bySelector])}`;
  const meanwhile = async (deleted: number, selection: Parameters<typeof createScan>[1]['selection']) => {
    const { outcome } = await inTransaction(t.sql, async (tx) => {
      await deleteTargets(tx, [deleted]);
      const outcome = createScan(t.sql, { kind: 'reach', selection }, t.caller).catch((error) => error);
      await waitUntilBlocked(t, 1);
      return { outcome };
    });
    return outcome;
  };
  expect(await meanwhile(byId, { targetIds: [kept, byId] })).toMatchObject({ code: 'not_found' });
  const scan = await meanwhile(bySelector, { selector: 'vanishing' });
  expect((await listItems(t.sql, scan.id, {}, unrestricted)).items.map((item) => item.targetId)).toEqual([
    kept,
  ]);
});
