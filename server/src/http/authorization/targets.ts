// What the routes of targets, target groups and inventories need.
import {
  type Case,
  changing,
  each,
  everywhere,
  listing,
  type Needs,
  reading,
  sides,
  theSegment,
} from './needs.ts';

const theTarget = 'its segment or one of its groups';
const theInventory = 'its segment, or everywhere if it belongs to no segment';
const thePlan = 'each segment that the plan affects; with target groups also `target_groups.edit` everywhere';

export const targetNeeds: Record<string, Needs> = {
  'GET targets': listing(
    theTarget,
    (world) =>
      sides(world).flatMap((side) => [
        { text: `"name":"${side.name}-host"`, seen: [side.target] },
        { text: `"name":"${side.name}-bare"`, seen: [side.bareTarget] },
      ]),
    'search=a',
  ),
  'GET targets/labels': listing('each target that has the label', (world) =>
    sides(world).map((side) => ({ text: `"name":"${side.name}-label"`, seen: [side.target] })),
  ),
  'POST targets/select': {
    permission: 'read',
    on: 'each target and target group that it names; selectors select among the targets that are seen',
    cases: (world) =>
      sides(world).map((side) => ({
        path: '',
        json: { targetIds: [side.targetId] },
        reads: [each(side.target)],
      })),
  },
  'POST targets/bulk': changing(
    'targets.edit',
    `${theTarget}; for groups also \`target_groups.edit\``,
    (side) => ({
      path: '',
      json: { selection: { targetIds: [side.targetId] }, isActive: false, dryRun: true },
      place: side.target,
    }),
  ),
  'GET targets/:id/effective-settings': reading(theTarget, (side) => ({
    path: `${side.targetId}/effective-settings`,
    place: side.target,
  })),
  'GET targets/:id': reading(theTarget, (side) => ({ path: side.targetId, place: side.target })),
  'POST targets': {
    permission: 'targets.edit',
    on: `${theSegment}; with a credential also \`credentials.use\`, with a fingerprint \`host_keys.approve\` there`,
    cases: (world) =>
      sides(world).flatMap((side): Case[] => {
        // The name is taken.
        const json = { segmentId: side.segmentId, name: `${side.name}-host`, host: 'x.example' };
        const edits: NonNullable<Case['needs']>[number] = ['targets.edit', each(side.segment)];
        const one: Case = { path: '', json, reads: [each(side.target)], needs: [edits], unseen: 400 };
        const hostKeyFingerprint = `SHA256:${'A'.repeat(43)}`;
        return [
          one,
          {
            ...one,
            json: { ...json, hostKeyFingerprint },
            needs: [edits, ['host_keys.approve', each(side.segment)]],
          },
          {
            ...one,
            json: { ...json, credentialId: side.credentialId },
            needs: [edits, ['credentials.use', each(side.segment)]],
          },
        ];
      }),
  },
  'PUT targets/:id': changing('targets.edit', theTarget, (side) => ({
    path: `${side.targetId}`,
    json: { name: `${side.name}-host`, host: `${side.name}.example` },
    place: side.target,
  })),
  // An open run uses it, so that it is not deleted.
  'DELETE targets/:id': changing('targets.edit', theTarget, (side) => ({
    path: `${side.targetId}`,
    place: side.target,
  })),
  'POST targets/:id/test': {
    permission: 'targets.test',
    on: `${theTarget}, and \`credentials.use\` there and on the jump hosts in front of it`,
    cases: (world) =>
      sides(world).map((side) => ({
        path: `${side.targetId}/test`,
        reads: [each(side.target)],
        needs: [
          ['targets.test', each(side.target)],
          ['credentials.use', each(side.target)],
        ],
      })),
    atOnce: true,
  },
  'POST targets/:id/host-keys': changing('host_keys.approve', theTarget, (side) => ({
    path: `${side.targetId}/host-keys`,
    json: { fingerprint: `SHA256:${'A'.repeat(43)}` },
    place: side.target,
  })),

  'GET target-groups': listing('the group; for its name, a target in it is enough', (world) =>
    sides(world).map((side) => ({ text: `"name":"${side.name}-group"`, seen: [side.target] })),
  ),
  'GET target-groups/:id': reading('the group; for its name, a target in it is enough', (side) => ({
    path: side.groupId,
    place: side.target,
  })),
  'GET target-groups/:id/entries': reading('the group', (side) => ({
    path: `${side.groupId}/entries`,
    place: side.group,
  })),
  'POST target-groups': everywhere('target_groups.edit'),
  'PUT target-groups/:id': everywhere('target_groups.edit'),
  'DELETE target-groups/:id': everywhere('target_groups.edit'),

  'GET inventories': listing(theInventory, (world) =>
    sides(world).map((side) => ({ text: `"name":"${side.name} inventory"`, seen: [side.segment] })),
  ),
  'GET inventories/:id': reading(theInventory, (side) => ({ path: side.inventoryId, place: side.segment })),
  'POST inventories': {
    permission: 'targets.edit',
    on: theInventory,
    cases: (world) =>
      sides(world).map((side) => ({
        path: '',
        // The name is taken.
        json: { name: `${side.name} inventory`, format: 'csv', segmentId: side.segmentId },
        reads: [each(side.segment)],
        needs: [['targets.edit', each(side.segment)]],
        unseen: 400,
      })),
  },
  'PUT inventories/:id': changing('targets.edit', theInventory, (side) => ({
    path: `${side.inventoryId}`,
    json: { name: `${side.name} inventory` },
    place: side.segment,
  })),
  // A target belongs to it, so that it is not deleted.
  'DELETE inventories/:id': changing('targets.edit', theInventory, (side) => ({
    path: `${side.inventoryId}`,
    place: side.segment,
  })),
  'POST inventories/:id/plan': changing('targets.edit', thePlan, (side) => ({
    path: `${side.inventoryId}/plan`,
    json: { files: [{ path: 'hosts', content: '' }] },
    place: side.segment,
  })),
  'PUT inventories/:id/targets': changing('targets.edit', thePlan, (side) => ({
    path: `${side.inventoryId}/targets`,
    json: { hosts: [] },
    place: side.segment,
  })),
  'GET inventories/:id/plans': reading(
    'as for the inventory; plans only with `targets.edit` in each segment that they affect',
    (side) => ({ path: `${side.inventoryId}/plans`, place: side.segment }),
  ),
  'GET inventories/:id/plans/:plan': changing(
    'targets.edit',
    'as for the inventory; also each segment that the plan affects',
    (side) => ({ path: `${side.inventoryId}/plans/${side.planId}`, place: side.segment }),
  ),
  // This plan was already applied.
  'POST inventories/:id/plans/:plan/apply': changing('targets.edit', thePlan, (side) => ({
    path: `${side.inventoryId}/plans/${side.planId}/apply`,
    json: { gone: 'keep' },
    place: side.segment,
  })),
};
