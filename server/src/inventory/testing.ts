// Inventories and their imports for tests, made through the same functions as by people.
import type { InventoryOptions, InventoryPlan, Target } from '@opsconductor/protocol';
import { Authority, type Grant } from '../auth/authority.ts';
import type { Caller } from '../caller.ts';
import { makeSegment, setupInstallation, type TestInstallation } from '../segments/testing.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { listTargets } from '../targets/list-targets.ts';
import { applyPlan } from './apply-plan.ts';
import { createInventory } from './edit-inventories.ts';
import { planInventory } from './make-plan.ts';
import { readInventory } from './read-inventory.ts';

type Adopt = 'none' | 'by_hand' | 'any';
type Gone = 'keep' | 'deactivate' | 'delete';

export interface TestImports extends TestInstallation {
  /** How often `renew` was called, for names. */
  count: number;
  segment: { id: number; name: string };
  inventoryId: number;
  /** Gives a test a segment and an inventory of its own. */
  renew(): Promise<void>;
  makeInventory(options?: InventoryOptions): Promise<number>;
  /** Plans the import of a CSV file. */
  plan(content: string, adopt?: Adopt, inventoryId?: number): Promise<InventoryPlan>;
  apply(planId: string, gone?: Gone, caller?: Caller, inventoryId?: number): Promise<InventoryPlan>;
  /** Plans the import of a CSV file and applies it. */
  bring(content: string, gone?: Gone): Promise<InventoryPlan>;
  /** Returns the targets of the segment. */
  targets(): Promise<Target[]>;
  /** Returns their names, those of inactive ones in parentheses. */
  names(): Promise<string[]>;
  /** Returns a caller with only these grants. */
  granted(...grants: Partial<Grant>[]): Caller;
}

export async function setupImports(): Promise<TestImports> {
  const installation = await setupInstallation();
  const { sql, caller: ada } = installation;
  let inventories = 0;
  const t: TestImports = Object.assign(installation, {
    count: 0,
    segment: { id: 0, name: '' },
    inventoryId: 0,
    renew: async () => {
      t.count += 1;
      t.segment = await makeSegment(t, `segment-${t.count}`);
      t.inventoryId = await t.makeInventory();
    },
    makeInventory: async (options: InventoryOptions = {}) => {
      inventories += 1;
      const name = `inventory ${inventories}`;
      const request = { name, format: 'csv' as const, segmentId: t.segment.id, options };
      return (await createInventory(sql, request, ada)).id;
    },
    plan: (content: string, adopt: Adopt = 'none', id = t.inventoryId) =>
      planInventory(sql, id, { files: [{ path: 'hosts.csv', content }], adopt }, ada, readInventory),
    apply: (planId: string, gone: Gone = 'keep', caller = ada, id = t.inventoryId) =>
      applyPlan(sql, id, planId, { gone }, caller),
    bring: async (content: string, gone?: Gone) => t.apply((await t.plan(content)).id, gone),
    targets: async () =>
      (await listTargets(sql, { segmentId: t.segment.id, limit: 200 }, unrestricted)).items,
    names: async () => (await t.targets()).map(({ name, isActive }) => (isActive ? name : `(${name})`)),
    granted: (...grants: Partial<Grant>[]) => {
      const none = { role: null, permission: null, scope: null };
      return {
        ...ada,
        name: 'eve',
        authority: new Authority(grants.map((grant) => ({ ...none, ...grant }))),
      };
    },
  });
  return t;
}
