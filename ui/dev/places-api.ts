// The mock API for target groups, inventories, selections and settings.
import {
  type InventoryPlan,
  type InventoryPlanItem,
  matchesSelector,
  parseSelector,
  type SelectTargetsReply,
  type Target,
  type TargetGroup,
} from '@opsconductor/protocol';
import { ago, credentials, segments, targets } from './fixtures.ts';
import type { Answer } from './people-api.ts';

const hour = 3_600_000;
const group = (id: number, name: string, more: Partial<TargetGroup>): TargetGroup => ({
  id,
  name,
  description: '',
  memberCount: 0,
  isWhole: true,
  selector: null,
  priority: 0,
  settings: {},
  credentials: [],
  listedCount: 0,
  excludedCount: 0,
  createdAt: ago(90 * 24 * hour),
  updatedAt: ago(3 * hour),
  ...more,
});
const targetGroups: TargetGroup[] = [
  group(1, 'Web servers', {
    description: 'Everything behind the public load balancers',
    memberCount: 11_142,
    selector: 'name:*-web-* env in (prod, stage) !canary',
    priority: 10,
    settings: { connect_timeout: 30, username: 'deploy' },
    credentials: [
      {
        segmentId: 1,
        segmentName: 'dmz-1',
        credentialId: credentials[0]?.id ?? '',
        credentialName: 'web-patch',
      },
      {
        segmentId: 2,
        segmentName: 'core-2',
        credentialId: credentials[1]?.id ?? '',
        credentialName: 'core-patch',
      },
    ],
    listedCount: 3,
    excludedCount: 2,
  }),
  group(2, 'databases', {
    memberCount: 2,
    selector: 'tier=database',
    description: 'No restarts in office hours',
  }),
  group(3, 'canaries', { memberCount: 4, selector: 'canary', priority: 20, settings: { port: 2222 } }),
  group(4, 'change-window/sunday', { memberCount: 6, listedCount: 6, isWhole: false }),
];
const entries = [
  ['dmz-db-01', false],
  ['dmz-web-01', false],
  ['core-web-09', false],
  ['dmz-web-05', true],
  ['core-web-02', true],
].map(([name, excluded]) => {
  const target = targets.find((one) => one.name === name) as Target;
  return {
    targetId: target.id,
    name: target.name,
    segmentId: target.segmentId,
    segmentName: target.segmentName,
    excluded: excluded as boolean,
  };
});

const inventories = [
  {
    id: 1,
    name: 'production',
    format: 'ansible_ini',
    segmentId: 1,
    segmentName: 'dmz-1',
    options: { labelVariables: ['rack'] },
    targetCount: 12_000,
    createdAt: ago(40 * 24 * hour),
    lastAppliedAt: ago(26 * hour),
  },
  {
    id: 2,
    name: 'cmdb',
    format: 'api',
    segmentId: null,
    segmentName: null,
    options: {},
    targetCount: 412,
    createdAt: ago(9 * 24 * hour),
    lastAppliedAt: ago(2 * hour),
  },
  {
    id: 3,
    name: 'office list',
    format: 'csv',
    segmentId: 2,
    segmentName: 'core-2',
    options: { groups: 'target_groups' },
    targetCount: 0,
    createdAt: ago(hour),
    lastAppliedAt: null,
  },
];

const planItems: InventoryPlanItem[] = Array.from({ length: 12_000 }, (_, at) => {
  const action =
    at < 3
      ? 'conflict'
      : at < 9
        ? 'gone'
        : at < 230
          ? 'create'
          : at < 262
            ? 'update'
            : ('unchanged' as const);
  const name = `dmz-${action === 'gone' ? 'old' : 'web'}-${String(at + 1).padStart(5, '0')}`;
  const changes =
    action === 'create'
      ? [
          { field: 'labels.env', from: null, to: 'prod' },
          { field: 'labels.group/web', from: null, to: '' },
          { field: 'settings.username', from: null, to: 'deploy' },
        ]
      : action === 'update'
        ? [
            { field: 'host', from: `10.20.4.${at % 250}`, to: `10.20.5.${at % 250}` },
            { field: 'labels.env', from: 'stage', to: 'prod' },
            { field: 'port', from: 2222, to: null },
          ]
        : [];
  return {
    action,
    name,
    host: `10.20.${at >> 8}.${at & 255}`,
    segmentId: 1,
    segmentName: 'dmz-1',
    targetId: action === 'create' ? null : at + 1,
    changes,
    adoptedFrom: null,
    forgottenHostKeys: action === 'update' ? 1 : 0,
    conflict:
      action === 'conflict'
        ? {
            reason: 'by_hand',
            message: `A target ${name} was made by hand: adopt it, or give the host another name.`,
          }
        : null,
    file: action === 'gone' ? null : 'hosts',
    line: action === 'gone' ? null : at + 4,
  };
});
let applied = false;
let adopted = false;
let stale = false;

function plan(query: URLSearchParams): InventoryPlan {
  const all = planItems.map((item) =>
    adopted && item.action === 'conflict'
      ? { ...item, action: 'update' as const, conflict: null, adoptedFrom: 'by hand' }
      : item,
  );
  const [action, search] = [query.get('action'), query.get('search') ?? ''];
  const fits = all.filter(
    (item) => (action === null || item.action === action) && `${item.name} ${item.host}`.includes(search),
  );
  const from = Number(query.get('cursor') ?? 0);
  const to = from + Number(query.get('limit') ?? 50);
  const countOf = (one: string) => all.filter((item) => item.action === one).length;
  return {
    id: '7c0e8a52-3f15-4b3b-9a57-5b8f0f7f1f01',
    inventoryId: 1,
    createdAt: ago(60_000),
    createdBy: 'admin',
    expiresAt: new Date(Date.now() + 23 * hour).toISOString(),
    appliedAt: applied ? ago(1000) : null,
    gone: applied ? 'deactivate' : null,
    counts: {
      create: countOf('create'),
      update: countOf('update'),
      unchanged: countOf('unchanged'),
      gone: countOf('gone'),
      conflict: countOf('conflict'),
      adopted: adopted ? 3 : 0,
      forgottenHostKeys: 32,
    },
    findings: [
      {
        kind: 'dropped',
        file: 'group_vars/all.yml',
        line: 4,
        message: 'ansible_password is a secret: make it a credential.',
      },
      {
        kind: 'left_out',
        file: 'hosts',
        line: 88,
        message: 'dmz-lb-01 is reached by ansible_connection=local: neither SSH nor WinRM.',
      },
      { kind: 'note', file: 'hosts', line: 3, message: 'ansible_become is part of a step.' },
    ],
    findingCount: 48,
    newGroups: [],
    unusedVariables: [
      { name: 'rack', count: 12_000 },
      { name: 'ntp_server', count: 400 },
    ],
    items: fits.slice(from, to),
    nextCursor: to < fits.length ? String(to) : null,
  };
}

function select(body: Record<string, unknown>, all: readonly Target[]): Answer {
  const {
    selector,
    targetIds = [],
    groupIds = [],
  } = body as {
    selector?: string;
    targetIds?: number[];
    groupIds?: number[];
  };
  const ids = new Set(targetIds);
  const wanted = selector === undefined ? undefined : parseSelector(selector);
  const out = new Set((body.exclude as { targetIds?: number[] } | undefined)?.targetIds);
  const chosen = all.filter(
    (one) =>
      !out.has(one.id) &&
      (ids.has(one.id) ||
        one.groups.some(({ id }) => groupIds.includes(id)) ||
        (wanted !== undefined &&
          one.isActive &&
          matchesSelector(wanted, {
            ...one,
            segment: one.segmentName,
            groups: one.groups.map(({ name }) => name),
          }))),
  );
  const problemOf = (one: Target) => {
    if (!one.isActive) return 'inactive' as const;
    return one.effective.credentialId === null ? ('no_credential' as const) : null;
  };
  const bySegment = segments.map((segment) => {
    const within = chosen.filter((one) => one.segmentId === segment.id);
    return {
      id: segment.id,
      name: segment.name,
      count: within.length,
      runnable: within.filter((one) => problemOf(one) === null).length,
      ...(segment.health === 'offline' ? { waitsForAgent: true as const } : {}),
    };
  });
  const reply: SelectTargetsReply = {
    total: chosen.length,
    runnable: chosen.filter((one) => problemOf(one) === null).length,
    segments: bySegment.filter((one) => one.count > 0),
    credentials: bySegment
      .filter((one) => one.runnable > 0)
      .map((one) => ({
        name: one.id === 1 ? 'web-patch' : 'core-patch',
        segmentName: one.name,
        count: one.runnable,
      })),
    problems: (['inactive', 'no_credential'] as const).flatMap((problem) => {
      const names = chosen.filter((one) => problemOf(one) === problem).map(({ name }) => name);
      const message =
        problem === 'inactive'
          ? 'These are inactive: activate them to run on them.'
          : 'These have no credential: choose one for them, a group or the segment.';
      return names.length === 0
        ? []
        : [{ problem, message, count: names.length, targets: names.slice(0, 10) }];
    }),
    notes: selector?.includes('prdo') === true ? ['No target has the label prdo.'] : [],
    items: chosen.slice(0, Number(body.limit ?? 50)).map((one) => ({ ...one, problem: problemOf(one) })),
    nextCursor: null,
  };
  return { status: 200, body: reply };
}

/** Answers a request about these; undefined for any other. */
export function placesAnswer(
  method: string,
  path: string,
  query: URLSearchParams,
  body: Record<string, unknown>,
  world: { targets: readonly Target[]; isEmpty: boolean },
): Answer | undefined {
  const route = `${method} ${path.replace(/[0-9a-f-]{36}/, ':plan').replace(/\d+/, ':id')}`;
  const page = (items: unknown[]) => ({
    status: 200,
    body: { items: world.isEmpty ? [] : items, nextCursor: null },
  });
  const id = Number(/\d+/.exec(path)?.[0]);
  switch (route) {
    case 'GET /target-groups': {
      const search = query.get('search')?.toLowerCase() ?? '';
      return page(targetGroups.filter(({ name }) => name.toLowerCase().includes(search)));
    }
    case 'GET /target-groups/:id': {
      const found = targetGroups.find((one) => one.id === id);
      return found === undefined ? undefined : { status: 200, body: found };
    }
    case 'GET /target-groups/:id/entries':
      return page(id === 1 ? entries : []);
    case 'POST /target-groups':
    case 'PUT /target-groups/:id':
      return { status: 200, body: targetGroups[0] };
    case 'DELETE /target-groups/:id':
      return { status: 204 };
    case 'POST /targets/select':
      return select(body, world.targets);
    case 'POST /targets/bulk':
      return {
        status: 200,
        body: {
          selected: 12,
          changed: 9,
          dryRun: body.dryRun === true,
          targets: ['dmz-web-01', 'dmz-web-02'],
        },
      };
    case 'GET /targets/labels':
      return {
        status: 200,
        body: {
          items: [
            { name: 'canary', targets: 4, values: [] },
            { name: 'env', targets: 28, values: ['prod', 'stage'] },
            { name: 'tier', targets: 28, values: ['web', 'database'] },
          ],
        },
      };
    case 'GET /segments/:id/settings':
    case 'PUT /segments/:id/settings':
      return {
        status: 200,
        body: {
          settings: id === 1 ? { connect_timeout: 20, username: 'patch' } : {},
          credentialId: id === 1 ? (credentials[0]?.id ?? null) : null,
          credentialName: id === 1 ? 'web-patch' : null,
        },
      };
    case 'GET /inventories':
      return page(inventories);
    case 'GET /inventories/:id': {
      const found = inventories.find((one) => one.id === id);
      return found === undefined ? undefined : { status: 200, body: found };
    }
    case 'POST /inventories':
    case 'PUT /inventories/:id':
      return { status: 201, body: inventories[0] };
    case 'DELETE /inventories/:id':
      return { status: 204 };
    case 'POST /inventories/:id/plan':
      applied = false;
      stale = (body.files as { content: string }[] | undefined)?.[0]?.content.includes('stale') === true;
      adopted = body.adopt === 'by_hand';
      if ((body.files as { content: string }[] | undefined)?.[0]?.content.includes('broken') === true) {
        const details = [
          { path: 'hosts:3', message: 'The range web[3:1] has no hosts.' },
          { path: 'group_vars/web.yml:7', message: 'The mapping is not closed.' },
        ];
        return {
          status: 400,
          body: {
            error: {
              code: 'invalid',
              message: 'The inventory has 2 problems.',
              requestId: 'req_7f',
              details,
            },
          },
        };
      }
      return { status: 201, body: plan(new URLSearchParams()) };
    case 'GET /inventories/:id/plans':
      return page([plan(query)]);
    case 'GET /inventories/:id/plans/:plan':
      return { status: 200, body: plan(query) };
    case 'POST /inventories/:id/plans/:plan/apply':
      if (stale) {
        const details = [
          { path: 'dmz-1: dmz-web-00012', message: 'It was to be created; now it is there already.' },
        ];
        return {
          status: 409,
          body: {
            error: {
              code: 'conflict',
              message: 'One thing has changed since this was planned; plan the import again.',
              requestId: 'req_7f',
              details,
            },
          },
        };
      }
      applied = true;
      return { status: 200, body: plan(query) };
  }
  return undefined;
}
