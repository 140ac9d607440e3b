// What the routes of the audit log need.
import { everywhere, type Needs, sides } from './needs.ts';

export const auditNeeds: Record<string, Needs> = {
  'GET audit': {
    permission: 'audit.read',
    on: 'the category or segment in which it happened',
    list: ({ alfa, zeta, shared }) => [
      { text: '"name":"alfa jobs"', seen: [alfa.category] },
      { text: '"name":"zeta jobs"', seen: [zeta.category] },
      { text: '"name":"shared jobs"', seen: [shared.place] },
    ],
    query: 'action=category.created',
  },
  'GET audit/export': {
    permission: 'audit.read',
    on: 'the category or segment in which it happened',
    list: (world) => sides(world).map((side) => ({ text: `"name":"${side.name}"`, seen: [side.segment] })),
    query: 'action=segment.created',
  },
  'GET audit/checkpoints/latest': everywhere('audit.read'),
};
