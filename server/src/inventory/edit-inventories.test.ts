import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { makeSegment } from '../segments/testing.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { getInventory, updateInventory } from './edit-inventories.ts';
import { setupImports, type TestImports } from './testing.ts';

let t: TestImports;
beforeAll(async () => {
  t = await setupImports();
});
afterAll(() => t?.close());
beforeEach(() => t.renew());

it('moving an inventory is audited in its old segment and in its new one', async () => {
  const other = await makeSegment(t, `segment-to-${t.count}`);
  const { name } = await getInventory(t.sql, t.inventoryId, unrestricted);
  const move = (segmentId: number | null) =>
    updateInventory(t.sql, t.inventoryId, { name, segmentId }, t.caller);
  await move(t.segment.id);
  const told = async () =>
    (
      await t.sql<{ segmentId: number | null }[]>`
        select segment_id from audit_log where action = 'inventory.changed' and object_id = ${String(t.inventoryId)}
        order by id`
    ).map((row) => row.segmentId);
  const before = (await told()).length;
  await move(other.id);
  await move(null);
  await move(null);
  expect((await told()).slice(before)).toEqual([t.segment.id, other.id, other.id, null]);
});

it('an inventory changes in the fields of a request, if they still have the expected values', async () => {
  const { name } = await getInventory(t.sql, t.inventoryId, unrestricted);
  const update = (request: Parameters<typeof updateInventory>[2]) =>
    updateInventory(t.sql, t.inventoryId, request, t.caller);
  const options = { groups: 'none' } as const;
  await update({ segmentId: t.segment.id });
  expect(await update({ options })).toMatchObject({ name, segmentId: t.segment.id, options });
  const late = update({ options: {}, expected: { options: {}, name } });
  await expect(late).rejects.toMatchObject({ code: 'conflict', details: [{ path: 'expected.options' }] });
  expect(await update({ name: `${name} b`, expected: { options, name } })).toMatchObject({ options });
});
