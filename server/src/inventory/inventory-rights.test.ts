// What callers need in order to see inventories, change them and import from them.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Grant } from '../auth/authority.ts';
import { makeSegment } from '../segments/testing.ts';
import { createTargetGroup } from '../target-groups/edit-target-groups.ts';
import { createInventory, getInventory, listInventories, updateInventory } from './edit-inventories.ts';
import { getPlan, planInventory } from './make-plan.ts';
import { readInventory } from './read-inventory.ts';
import { setupImports, type TestImports } from './testing.ts';

let t: TestImports;
beforeAll(async () => {
  t = await setupImports();
});
afterAll(() => t?.close());
beforeEach(() => t.renew());

describe('rights', () => {
  const segmentScope = () => ({ kind: 'segment', id: t.segment.id }) as const;

  it('are needed in every segment that the file names', async () => {
    const other = await makeSegment(t, `other-${t.count}`);
    const hidden = await makeSegment(t, `hidden-${t.count}`);
    const scope = { kind: 'segment', id: other.id } as const;
    const caller = t.granted({ role: 'admin', scope: segmentScope() }, { role: 'viewer', scope });
    const planAs = (name: string) =>
      planInventory(
        t.sql,
        t.inventoryId,
        { files: [{ path: 'f', content: `name,segment\na,${name}\n` }] },
        caller,
        readInventory,
      );
    expect((await planAs(t.segment.name)).counts.create).toBe(1);
    await expect(planAs(other.name)).rejects.toMatchObject({
      permission: 'targets.edit',
      message: expect.stringContaining(other.name),
    });
    for (const name of [hidden.name, 'nowhere']) {
      await expect(planAs(name)).rejects.toMatchObject({
        code: 'invalid',
        details: [{ path: 'f:2', message: `There is no segment “${name}”.` }],
      });
    }
  });

  it('are needed in each segment where the inventory has targets, and plans that also concern other segments are not visible', async () => {
    const hidden = await makeSegment(t, `secret-${t.count}`);
    const { id } = await t.plan(`name,segment\na,${hidden.name}\nb,${t.segment.name}\n`);
    const caller = t.granted({ role: 'admin', scope: segmentScope() });
    await expect(getPlan(t.sql, t.inventoryId, id, {}, caller)).rejects.toMatchObject({ code: 'not_found' });
    await expect(t.apply(id, 'keep', caller)).rejects.toMatchObject({ code: 'not_found' });
    await t.apply(id);
    const files = [{ path: 'f', content: 'name\nb\n' }];
    const refused = planInventory(t.sql, t.inventoryId, { files }, caller, readInventory);
    await expect(refused).rejects.toMatchObject({ permission: 'targets.edit' });
    await expect(refused).rejects.not.toMatchObject({ message: expect.stringContaining(hidden.name) });
  });

  it('on the inventory are needed to see one of its plans, also if that concerns only segments in which one has them', async () => {
    const request = { name: `all ${t.count}`, format: 'csv' as const };
    const everywhere = await createInventory(t.sql, request, t.caller);
    const { id } = await t.plan(`name,segment\na,${t.segment.name}\n`, 'none', everywhere.id);
    expect(await getPlan(t.sql, everywhere.id, id, {}, t.caller)).toMatchObject({ id });
    const caller = t.granted({ role: 'admin', scope: segmentScope() });
    await expect(getPlan(t.sql, everywhere.id, id, {}, caller)).rejects.toMatchObject({ code: 'not_found' });
  });

  it('decide which inventories are visible, and how many of their targets are counted', async () => {
    await t.bring('name\na\nb\n');
    const reach = (scope: Grant['scope']) => t.granted({ role: 'viewer', scope }).authority.reach('read');
    const seen = await listInventories(t.sql, {}, reach(segmentScope()));
    expect(seen.items).toMatchObject([{ id: t.inventoryId, targetCount: 2 }]);
    const elsewhere = await makeSegment(t, `elsewhere-${t.count}`);
    const scope = { kind: 'segment', id: elsewhere.id } as const;
    expect((await listInventories(t.sql, {}, reach(scope))).items).toEqual([]);
    const everywhere = await createInventory(t.sql, { name: `all ${t.count}`, format: 'csv' }, t.caller);
    await expect(getInventory(t.sql, everywhere.id, reach(segmentScope()))).rejects.toMatchObject({
      code: 'not_found',
    });
  });

  it('are needed to create and change an inventory', async () => {
    const caller = t.granted({ role: 'viewer' }, { permission: 'targets.edit', scope: segmentScope() });
    const request = { name: `eve ${t.count}`, format: 'csv' as const };
    await expect(createInventory(t.sql, request, caller)).rejects.toMatchObject({
      permission: 'targets.edit',
    });
    const own = await createInventory(t.sql, { ...request, segmentId: t.segment.id }, caller);
    const change = (segmentId: number | null) =>
      updateInventory(t.sql, own.id, { name: own.name, segmentId }, caller);
    await expect(change(null)).rejects.toMatchObject({ permission: 'targets.edit' });
    expect((await change(t.segment.id)).segmentId).toBe(t.segment.id);
  });
});

describe('groups of an inventory', () => {
  it('need the right to edit target groups', async () => {
    t.inventoryId = await t.makeInventory({ groups: 'target_groups' });
    const scope = { kind: 'segment', id: t.segment.id } as const;
    const caller = t.granted({ role: 'admin', scope });
    const files = [{ path: 'hosts.csv', content: 'name,groups\na,web\n' }];
    await expect(planInventory(t.sql, t.inventoryId, { files }, caller, readInventory)).rejects.toMatchObject(
      {
        permission: 'target_groups.edit',
      },
    );
  });

  it('give nobody rights that the importer does not hold', async () => {
    const name = `prod-${t.count}`;
    const group = await createTargetGroup(
      t.sql,
      { name, selector: `env=prod segment:${t.segment.name}` },
      t.caller,
    );
    await t.sql`insert into role_grants (user_id, role, target_group_id) values (${t.caller.userId}, 'operator', ${group.id})`;
    const scope = { kind: 'segment', id: t.segment.id } as const;
    const caller = t.granted({ role: 'viewer', scope }, { permission: 'targets.edit', scope });
    const { id } = await t.plan('name,label:env\na,prod\n');
    await expect(t.apply(id, 'keep', caller)).rejects.toMatchObject({ permission: 'run' });
    expect(await t.names()).toEqual([]);
    await t.apply(id);
    expect((await t.targets())[0]?.groups).toEqual([{ id: group.id, name }]);
  });
});
