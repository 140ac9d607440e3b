// What every route needs, and on what: the permission matrix as the walk tests it and docs/permissions.md shows it. A
// route that is not here fails the suite.
import type { Permission } from '@opsconductor/protocol';
import { deepStepsOf, type Place, type Side, type WalkedRun, type World } from './authorization-world.ts';

/** One request, with what must be read for it to find anything, and what is then needed. */
export interface Case {
  path: string;
  json?: unknown;
  /** What it is sent as, where that is not JSON. */
  contentType?: string;
  reads?: Requirement[];
  needs?: [Permission, Requirement][];
  /** Answer to who may not read it, where the request only refers to it. */
  unseen?: 400;
}
/** The right holds on one of these places at least, or on each of them. */
export type Requirement = { one: readonly Place[] } | { each: readonly Place[] };

/** What a list has: its text is in the answer for who may read one of the places, and for nobody else. */
export interface Listed {
  text: string;
  seen: readonly Place[];
}

export type Needs =
  /** `answers`: what a request without anything in it gets. */
  | { public: true; answers?: 200 | 404 }
  /** Of anybody who is signed in, for their own account. */
  | { self: true }
  | { everywhere: Permission }
  /** `on` is what docs/permissions.md says. */
  | { permission: Permission; on: string; cases: (world: World) => Case[] }
  | { permission: Permission; on: string; list: (world: World) => Listed[]; query?: string };

const sides = ({ alfa, zeta }: World): Side[] => [alfa, zeta];
const each = (...places: Place[]): Requirement => ({ each: places });
const allOf = (run: WalkedRun): Requirement => ({ each: run.targetRuns.map(({ place }) => place) });
const oneOf = (run: WalkedRun): Requirement => ({ one: run.targetRuns.map(({ place }) => place) });
const everywhere = (permission: Permission): Needs => ({ everywhere: permission });
const self: Needs = { self: true };
const ofPublic: Needs = { public: true };

const theJob = 'the job’s category';
const theFilesCategory = 'the file’s category';
const savedWhere =
  'the job’s category, and `credentials.use` on the segment, or a target in it, of each credential that it names';
const theFile =
  'some category; by its plan the categories of its jobs, with what saving each needs, and for new categories `categories.edit` and `jobs.edit` everywhere';
const theImport = 'one’s own, and each category that it concerns';
const theSegment = 'its segment';
const theTarget = 'its segment or one of its groups';
const theScan = 'any target of the scan: then of those that are seen';
const theInventory = 'its segment; everywhere, for one of no segment';
const thePlan =
  'each segment that the plan concerns; with target groups also `target_groups.edit` everywhere';
const theRun = 'the job’s category, or any target of the run: then that part of it';

/** Reads one thing on each side. */
function reading(on: string, cases: (side: Side) => { path: string | number; place: Place }): Needs {
  return {
    permission: 'read',
    on,
    cases: (world) =>
      sides(world).map((side) => {
        const { path, place } = cases(side);
        return { path: String(path), reads: [each(place)] };
      }),
  };
}

/** Changes one thing on each side, which must be seen. */
function changing(
  permission: Permission,
  on: string,
  cases: (side: Side) => Omit<Case, 'reads' | 'needs'> & { place: Place },
): Needs {
  return {
    permission,
    on,
    cases: (world) =>
      sides(world).map((side) => {
        const { place, ...request } = cases(side);
        return { ...request, reads: [each(place)], needs: [[permission, each(place)]] };
      }),
  };
}

/** What is decided about an agent; none of these change the world that others walk. */
function managing(verb: string, json?: unknown, which: 'live' | 'revoked' = 'live'): Needs {
  return changing('agents.manage', theSegment, (side) => ({
    path: `${which === 'live' ? side.agentId : side.revokedAgentId}/${verb}`,
    ...(json === undefined ? {} : { json }),
    place: side.segment,
  }));
}

/** Asked with nothing that could be seen. */
const somewhere = (on: string, path: string): Needs => ({
  permission: 'jobs.edit',
  on,
  cases: () => [{ path }],
});

/** An import that someone else began. */
const ofAnother = (on: string, tail: string): Needs => ({
  permission: 'jobs.edit',
  on,
  cases: ({ importId }) => [{ path: `${importId}${tail}`, reads: [{ one: [] }] }],
});

const listing = (
  on: string,
  list: (world: World) => Listed[],
  query?: string,
  permission: Permission = 'read',
): Needs => ({
  permission,
  on,
  list,
  ...(query === undefined ? {} : { query }),
});

const readsRuns = (pathOf: (run: WalkedRun) => string): Needs => ({
  permission: 'read',
  on: theRun,
  cases: ({ ended }) => ended.map((run) => ({ path: pathOf(run), reads: [oneOf(run)] })),
});

/** Of ended runs, so that who may cancel hears that it is too late. */
const cancelsRuns: Needs = {
  permission: 'run',
  on: 'the job’s category, or each target of the run; with `purge=true` also `runs.purge` on the category',
  cases: ({ ended, open }) => [
    ...ended.map((run): Case => ({ path: `${run.id}`, reads: [oneOf(run)], needs: [['run', allOf(run)]] })),
    ...open.map(
      (run): Case => ({
        path: `${run.id}?purge=true`,
        reads: [oneOf(run)],
        needs: [['runs.purge', each(run.category)]],
      }),
    ),
  ],
};

const steps = [{ name: 'only', type: 'ssh.exec', config: { command: 'uptime' } }];

/** By method and path below `/api/v1/`. The path of a case is what stands for the parameters, or goes on after them. */
export const routeNeeds: Record<string, Needs> = {
  'POST agent/enroll': ofPublic,
  'POST agent/segment-key': ofPublic,
  'POST sign-in/exchange': ofPublic,
  'POST sign-in': ofPublic,
  'GET schemas/job': { public: true, answers: 200 },
  'GET schemas/steps/:type': { public: true, answers: 404 },

  'POST sign-out': self,
  'GET me': self,
  'GET me/access': self,
  'PUT me/password': self,
  'GET me/sessions': self,
  'DELETE me/sessions': self,
  'DELETE me/sessions/:id': self,
  'GET tokens': self,
  'POST tokens': self,
  'DELETE tokens/:id': self,

  'GET grants': everywhere('people.edit'),
  'POST grants': everywhere('people.edit'),
  'DELETE grants/:id': everywhere('people.edit'),
  'GET user-groups': everywhere('people.edit'),
  'POST user-groups': everywhere('people.edit'),
  'GET user-groups/:id': everywhere('people.edit'),
  'PUT user-groups/:id': everywhere('people.edit'),
  'DELETE user-groups/:id': everywhere('people.edit'),
  'GET user-groups/:id/members': everywhere('people.edit'),
  'PUT user-groups/:id/members/:user': everywhere('people.edit'),
  'DELETE user-groups/:id/members/:user': everywhere('people.edit'),
  'GET users': everywhere('people.edit'),
  'POST users': everywhere('people.edit'),
  'GET users/:id': everywhere('people.edit'),
  'PUT users/:id': everywhere('people.edit'),
  'DELETE users/:id': everywhere('people.edit'),
  'POST users/:id/sign-in-link': everywhere('people.edit'),
  'POST users/:id/unlock': everywhere('people.edit'),
  'GET users/:id/sessions': everywhere('people.edit'),
  'DELETE users/:id/sessions': everywhere('people.edit'),
  'DELETE users/:id/sessions/:session': everywhere('people.edit'),
  'GET users/:id/tokens': everywhere('people.edit'),
  'POST users/:id/tokens': everywhere('people.edit'),
  'DELETE users/:id/tokens/:token': everywhere('people.edit'),
  'GET users/:id/access': everywhere('people.edit'),

  'GET jobs': listing(
    theJob,
    ({ alfa, zeta, shared }) => [
      { text: '"alfa job"', seen: [alfa.category] },
      { text: '"zeta job"', seen: [zeta.category] },
      { text: '"shared job"', seen: [shared.place] },
      { text: '"alfa deep job"', seen: [alfa.deepCategory] },
      { text: '"zeta deep job"', seen: [zeta.deepCategory] },
    ],
    'search=job',
  ),
  'GET jobs/counts': listing(theJob, ({ alfa, zeta }) => [
    { text: '"alfa jobs"', seen: [alfa.category] },
    { text: '"zeta jobs"', seen: [zeta.category] },
    { text: '"zeta jobs/zeta deep"', seen: [zeta.deepCategory] },
  ]),
  'GET jobs/labels': listing(theJob, ({ alfa, zeta }) => [
    { text: '"alfa-purpose"', seen: [alfa.category] },
    { text: '"zeta-purpose"', seen: [zeta.category] },
    { text: '"zeta-deep-purpose"', seen: [zeta.deepCategory] },
  ]),
  'GET jobs/export': listing(theJob, ({ alfa, zeta, shared }) => [
    { text: 'name: alfa job', seen: [alfa.category] },
    { text: 'name: zeta job', seen: [zeta.category] },
    { text: 'name: shared job', seen: [shared.place] },
    { text: 'name: zeta deep job', seen: [zeta.deepCategory] },
  ]),
  'POST jobs/convert/rundeck': somewhere('any category: nothing is saved', ''),
  'POST job-imports': somewhere(theFile, ''),
  'GET job-imports': listing('one’s own', () => [], '', 'jobs.edit'),
  // Everybody's own: another's is not there.
  'GET job-imports/:id': ofAnother(theImport, ''),
  'GET job-imports/:id/items/:position': ofAnother(theImport, '/items/1'),
  'POST job-imports/:id/choices': ofAnother(theImport, '/choices'),
  'POST job-imports/:id/apply': ofAnother(theImport, '/apply'),
  'DELETE job-imports/:id': ofAnother(theImport, ''),
  'POST jobs/bulk': {
    permission: 'jobs.edit',
    on: 'the category of each job, and that to which they move',
    cases: (world) =>
      sides(world).flatMap((side): Case[] => [
        {
          path: '',
          json: { ids: [side.jobId], action: 'activate' },
          reads: [each(side.category)],
          needs: [['jobs.edit', each(side.category)]],
          unseen: 400,
        },
        {
          path: '',
          json: {
            ids: [side.deepJobId],
            action: 'categorise',
            category: `${side.name} jobs/${side.name} deep`,
          },
          reads: [each(side.deepCategory)],
          needs: [['jobs.edit', each(side.deepCategory)]],
          unseen: 400,
        },
      ]),
  },
  'POST jobs': {
    permission: 'jobs.edit',
    on: 'the category, and `credentials.use` on the segment, or a target in it, of each credential that it names',
    cases: (world) =>
      sides(world).flatMap((side): Case[] => {
        const json = { name: 'shared job', category: `${side.name} jobs`, steps };
        const request = { path: '', reads: [each(side.category)], unseen: 400 as const };
        const edits: NonNullable<Case['needs']>[number] = ['jobs.edit', each(side.category)];
        return [
          { ...request, json, needs: [edits] },
          ...sides(world).map(
            (of): Case => ({
              ...request,
              json: { ...json, connection: { credential: `${of.name}-key` } },
              needs: [edits, ['credentials.use', { one: [of.segment, of.target] }]],
            }),
          ),
        ];
      }),
  },
  'POST jobs/validate': {
    permission: 'jobs.edit',
    on: 'some category; the category of a job that it names',
    cases: (world) => [
      { path: '', json: { name: 'another job', steps } },
      ...sides(world).map(
        (side): Case => ({
          path: '',
          json: { definition: { name: 'another job', steps }, jobId: side.jobId },
          reads: [each(side.category)],
          needs: [['jobs.edit', each(side.category)]],
        }),
      ),
    ],
  },
  'POST jobs/preview': {
    permission: 'jobs.edit',
    on: 'some category; the category of a job, and `read` on a target, that it names',
    cases: (world) => [
      { path: '', json: { definition: { name: 'another job', steps } } },
      ...sides(world).map(
        (side): Case => ({
          path: '',
          json: { definition: { name: 'another job', steps }, jobId: side.jobId, targetId: side.targetId },
          reads: [each(side.category), each(side.target)],
          needs: [['jobs.edit', each(side.category)]],
        }),
      ),
    ],
  },
  'POST jobs/:id/preview': {
    permission: 'read',
    on: 'the job’s category and a target that it names',
    cases: (world) =>
      sides(world).flatMap((jobOf) =>
        sides(world).map(
          (targetOf): Case => ({
            path: `${jobOf.jobId}/preview`,
            json: { targetId: targetOf.targetId },
            reads: [each(jobOf.category), each(targetOf.target)],
          }),
        ),
      ),
  },
  'GET jobs/health': listing('the job’s category; of open runs what may be seen of them', () => []),
  'GET jobs/:id': reading(theJob, (side) => ({ path: side.jobId, place: side.category })),
  'GET jobs/:id/health': reading(theJob, (side) => ({
    path: `${side.deepJobId}/health`,
    place: side.deepCategory,
  })),
  'GET jobs/:id/statistics': reading(theJob, (side) => ({
    path: `${side.jobId}/statistics`,
    place: side.category,
  })),
  'GET jobs/:id/versions': reading(theJob, (side) => ({
    path: `${side.jobId}/versions`,
    place: side.category,
  })),
  'GET jobs/:id/versions/:version': reading(theJob, (side) => ({
    path: `${side.jobId}/versions/moving`,
    place: side.category,
  })),
  'GET jobs/:id/compare': reading(theJob, (side) => ({
    path: `${side.jobId}/compare?from=kept`,
    place: side.category,
  })),
  'GET jobs/:id/history': reading(theJob, (side) => ({
    path: `${side.jobId}/history`,
    place: side.category,
  })),
  // None of these changes anything: what is asked for is so already, or is refused when all else is right.
  'PUT jobs/:id': changing('jobs.edit', savedWhere, (side) => ({
    path: `${side.deepJobId}`,
    json: {
      definition: { name: `${side.name} deep job`, steps: deepStepsOf(side.name) },
      expectedVersion: 1,
    },
    place: side.deepCategory,
  })),
  'DELETE jobs/:id': changing('jobs.edit', theJob, (side) => ({
    path: `${side.jobId}`,
    place: side.category,
  })),
  'POST jobs/:id/state': changing('jobs.edit', theJob, (side) => ({
    path: `${side.jobId}/state`,
    json: { state: 'active' },
    place: side.category,
  })),
  'POST jobs/:id/rollback': changing('jobs.edit', savedWhere, (side) => ({
    path: `${side.jobId}/rollback`,
    json: { version: 'kept' },
    place: side.category,
  })),
  'PUT jobs/:id/tags/:name': changing('jobs.edit', theJob, (side) => ({
    path: `${side.jobId}/tags/kept`,
    json: { version: 1 },
    place: side.category,
  })),
  'DELETE jobs/:id/tags/:name': changing('jobs.edit', theJob, (side) => ({
    path: `${side.jobId}/tags/moving`,
    place: side.category,
  })),
  'PUT jobs/:id/channels/:name': changing('jobs.edit', theJob, (side) => ({
    path: `${side.jobId}/channels/moving`,
    json: { version: 1 },
    place: side.category,
  })),
  'DELETE jobs/:id/channels/:name': changing('jobs.edit', theJob, (side) => ({
    path: `${side.jobId}/channels/kept`,
    place: side.category,
  })),
  'PUT jobs/:id/category': changing('jobs.edit', 'both categories', (side) => ({
    path: `${side.jobId}/category`,
    json: { category: `${side.name} jobs` },
    place: side.category,
  })),
  'POST jobs/:id/run': {
    permission: 'run',
    on: 'the job’s category and each target, and `credentials.use` on each target',
    cases: (world) =>
      sides(world).flatMap((jobOf) =>
        sides(world).map(
          (targetOf): Case => ({
            path: `${jobOf.jobId}/run`,
            // It has no credential, so nothing starts.
            json: { targetIds: [targetOf.bareTargetId] },
            reads: [each(jobOf.category), each(targetOf.bareTarget)],
            needs: [
              ['run', each(jobOf.category, targetOf.bareTarget)],
              ['credentials.use', each(targetOf.bareTarget)],
            ],
          }),
        ),
      ),
  },

  'POST jobs/:id/sealing-keys': {
    permission: 'run',
    on: 'the job’s category and each target, and `credentials.use` on each target',
    cases: (world) =>
      sides(world).flatMap((jobOf) =>
        sides(world).map(
          (targetOf): Case => ({
            path: `${jobOf.jobId}/sealing-keys`,
            // It has no credential, so that it is refused.
            json: { targetIds: [targetOf.bareTargetId] },
            reads: [each(jobOf.category), each(targetOf.bareTarget)],
            needs: [
              ['run', each(jobOf.category, targetOf.bareTarget)],
              ['credentials.use', each(targetOf.bareTarget)],
            ],
          }),
        ),
      ),
  },

  'GET runs': listing(theRun, ({ ended }) =>
    ended.map((run) => ({
      text: `"jobName":"${run.jobName}"`,
      seen: run.targetRuns.map(({ place }) => place),
    })),
  ),
  'GET runs/:id': readsRuns((run) => `${run.id}`),
  'GET runs/:id/explain': readsRuns((run) => `${run.id}/explain`),
  'GET runs/:id/steps': readsRuns((run) => `${run.id}/steps`),
  'GET runs/:id/events': readsRuns((run) => `${run.id}/events?output=all`),
  'GET runs/:id/steps/:step/output': {
    permission: 'read',
    on: 'the job’s category, or the step’s target',
    cases: ({ ended }) =>
      ended.flatMap((run) =>
        run.targetRuns.flatMap(({ stepId, place }) =>
          ['chunks', 'text', 'raw'].map((format) => ({
            path: `${run.id}/steps/${stepId}/output?format=${format}`,
            reads: [each(place)],
          })),
        ),
      ),
  },
  'GET runs/:id/steps/:step/attempts': {
    permission: 'read',
    on: 'the job’s category, or the step’s target',
    cases: ({ ended }) =>
      ended.flatMap((run) =>
        run.targetRuns.map(({ stepId, place }) => ({
          path: `${run.id}/steps/${stepId}/attempts`,
          reads: [each(place)],
        })),
      ),
  },
  'GET runs/:id/steps/:step/transfers': {
    permission: 'read',
    on: 'the job’s category, or the step’s target',
    cases: ({ ended }) =>
      ended.flatMap((run) =>
        run.targetRuns.map(({ stepId, place }) => ({
          path: `${run.id}/steps/${stepId}/transfers`,
          reads: [each(place)],
        })),
      ),
  },
  'GET runs/:id/decisions': readsRuns((run) => `${run.id}/decisions`),
  /** Of ended runs, so that who may decide hears that it is too late. */
  'POST runs/:id/decisions': {
    permission: 'run',
    on: 'the job’s category, or each target of the run',
    cases: ({ ended }) =>
      ended.map((run) => ({
        path: `${run.id}/decisions`,
        json: { decision: 'failed', note: 'looked' },
        reads: [oneOf(run)],
        needs: [['run', allOf(run)]],
      })),
  },
  'POST runs/:id/rerun': {
    permission: 'run',
    on: 'the job’s category and each of the targets, and `credentials.use` on each target',
    // None of their targets became unknown, so nothing starts.
    cases: ({ ended }) =>
      ended.map((run) => ({
        path: `${run.id}/rerun`,
        json: { which: 'unknown' },
        reads: [each(run.category)],
        needs: [['run', each(run.category)]],
      })),
  },
  'DELETE runs/:id': cancelsRuns,
  'POST executor/cancel/:id': {
    permission: 'run',
    on: 'the job’s category, or each target of the run',
    cases: ({ ended }) =>
      ended.map((run) => ({ path: `${run.id}`, reads: [oneOf(run)], needs: [['run', allOf(run)]] })),
  },
  'GET executor/status': listing('steps and runs as far as they are seen; segments by the segment', (world) =>
    sides(world).map((side) => ({ text: `"name":"${side.name}"`, seen: [side.segment] })),
  ),
  'GET worker/status': listing(theSegment, (world) =>
    sides(world).map((side) => ({ text: `"name":"${side.name}-agent"`, seen: [side.segment] })),
  ),

  'GET categories': listing('the category', ({ alfa, zeta, shared }) => [
    { text: '"name":"alfa jobs"', seen: [alfa.category] },
    { text: '"name":"zeta jobs"', seen: [zeta.category] },
    { text: '"name":"shared jobs"', seen: [shared.place] },
    { text: '"name":"zeta jobs/zeta deep"', seen: [zeta.deepCategory] },
    { text: '"name":"alfa jobs/alfa deep"', seen: [alfa.deepCategory] },
  ]),
  'POST categories': everywhere('categories.edit'),
  'GET categories/:id': reading('the category', (side) => ({ path: side.categoryId, place: side.category })),
  'PUT categories/:id': everywhere('categories.edit'),
  'DELETE categories/:id': everywhere('categories.edit'),

  'GET files': listing(theFilesCategory, ({ alfa, zeta }) => [
    { text: '"alfa-file"', seen: [alfa.category] },
    { text: '"zeta-file"', seen: [zeta.category] },
  ]),
  'POST files': {
    permission: 'jobs.edit',
    on: 'the category',
    // Of names that are taken, which is told last.
    cases: (world) =>
      sides(world).map(
        (side): Case => ({
          path: '',
          json: { name: 'alfa-file', size: 1, category: `${side.name} jobs` },
          reads: [each(side.category)],
          needs: [['jobs.edit', each(side.category)]],
          unseen: 400,
        }),
      ),
  },
  'GET files/:id': reading(theFilesCategory, (side) => ({ path: side.fileId, place: side.category })),
  'GET files/:id/uses': reading('the file’s category; jobs as they are seen', (side) => ({
    path: `${side.fileId}/uses`,
    place: side.category,
  })),
  'GET files/:id/content': reading(theFilesCategory, (side) => ({
    path: `${side.fileId}/content`,
    place: side.category,
  })),
  'PUT files/:id/content': changing('jobs.edit', theFilesCategory, (side) => ({
    path: `${side.fileId}/content?offset=0`,
    contentType: 'application/octet-stream',
    place: side.category,
  })),
  'POST files/:id/finish': changing('jobs.edit', theFilesCategory, (side) => ({
    path: `${side.fileId}/finish`,
    place: side.category,
  })),
  // A job names it, so that it stays.
  'DELETE files/:id': changing('jobs.edit', theFilesCategory, (side) => ({
    path: side.fileId,
    place: side.category,
  })),
  'GET runs/:id/artifacts': readsRuns(({ id }) => `${id}/artifacts`),
  'GET runs/:id/artifacts/:artifact/content': {
    permission: 'read',
    on: 'the job’s category, or the step’s target',
    cases: ({ ended }) =>
      ended.flatMap((run) =>
        run.targetRuns.map(({ artifactId, place }) => ({
          path: `${run.id}/artifacts/${artifactId}/content`,
          reads: [each(place)],
        })),
      ),
  },

  'GET site-rules': everywhere('site_rules.edit'),
  'POST site-rules': everywhere('site_rules.edit'),
  'POST site-rules/try': everywhere('site_rules.edit'),
  'GET site-rules/:id': everywhere('site_rules.edit'),
  'PUT site-rules/:id': everywhere('site_rules.edit'),
  'DELETE site-rules/:id': everywhere('site_rules.edit'),
  'GET site-rules/:id/violations': everywhere('site_rules.edit'),

  'GET segments': listing('the segment; its name also by a group that reaches into it', (world) =>
    sides(world).map((side) => ({ text: `"name":"${side.name}"`, seen: [side.segment, side.target] })),
  ),
  'POST segments': everywhere('segments.edit'),
  'GET segments/:id': reading('the segment', (side) => ({ path: side.segmentId, place: side.segment })),
  'POST segments/:id/enrollment-tokens': changing('agents.enroll', 'the segment', (side) => ({
    path: `${side.segmentId}/enrollment-tokens`,
    place: side.segment,
  })),
  'GET segments/:id/sealing-key': changing('credentials.edit', 'the segment', (side) => ({
    path: `${side.segmentId}/sealing-key`,
    place: side.segment,
  })),
  'GET segments/:id/settings': reading('the segment', (side) => ({
    path: `${side.segmentId}/settings`,
    place: side.segment,
  })),
  'PUT segments/:id/settings': changing('segments.edit', 'the segment', (side) => ({
    path: `${side.segmentId}/settings`,
    json: { settings: {}, credentialId: null },
    place: side.segment,
  })),
  'GET agents': listing(theSegment, (world) =>
    sides(world).map((side) => ({ text: `"name":"${side.name}-agent"`, seen: [side.segment] })),
  ),
  'GET agents/:id': reading(theSegment, (side) => ({ path: side.agentId, place: side.segment })),
  'PUT agents/:id/labels': managing('labels', { labels: {} }),
  'POST agents/:id/undrain': managing('undrain'),
  'POST agents/:id/enable': managing('enable'),
  // Of one that was revoked long ago, so that the others stay as they are.
  'POST agents/:id/drain': managing('drain', undefined, 'revoked'),
  'POST agents/:id/disable': managing('disable', undefined, 'revoked'),
  'POST agents/:id/revoke': managing('revoke', undefined, 'revoked'),

  'GET segments/:id/host-trust': reading('the segment', (side) => ({
    path: `${side.segmentId}/host-trust`,
    place: side.segment,
  })),
  // It is no key.
  'POST segments/:id/host-trust': changing('host_keys.approve', 'the segment', (side) => ({
    path: `${side.segmentId}/host-trust`,
    json: { kind: 'authority', publicKey: 'none' },
    place: side.segment,
  })),
  // There is none of that number.
  'DELETE segments/:id/host-trust/:entry': changing('host_keys.approve', 'the segment', (side) => ({
    path: `${side.segmentId}/host-trust/999999`,
    place: side.segment,
  })),
  'POST known-hosts/plan': changing('host_keys.approve', 'the segment', (side) => ({
    path: '',
    json: { segmentId: side.segmentId, content: '# empty' },
    place: side.segment,
  })),
  // It has another digest.
  'POST known-hosts/apply': changing('host_keys.approve', 'the segment', (side) => ({
    path: '',
    json: { segmentId: side.segmentId, content: '# empty', digest: '0'.repeat(64) },
    place: side.segment,
  })),

  'GET host-scans': listing(theScan, (world) =>
    sides(world).map((side) => ({ text: `"id":${side.scanId},"kind"`, seen: [side.target] })),
  ),
  'GET host-scans/:id': reading(theScan, (side) => ({ path: side.scanId, place: side.target })),
  'GET host-scans/:id/items': reading(theScan, (side) => ({
    path: `${side.scanId}/items`,
    place: side.target,
  })),
  'POST host-scans': changing('targets.test', 'each of the targets', (side) => ({
    path: '',
    json: { kind: 'reach', selection: { targetIds: [side.targetId] } },
    place: side.target,
  })),
  'POST host-scans/:id/cancel': changing('targets.test', 'each target of the scan', (side) => ({
    path: `${side.scanId}/cancel`,
    place: side.target,
  })),
  // It has shown no such key.
  'POST host-scans/:id/approve': changing('host_keys.approve', 'each of the targets', (side) => ({
    path: `${side.scanId}/approve`,
    json: { keys: [{ targetId: side.targetId, fingerprint: `SHA256:${'A'.repeat(43)}` }] },
    place: side.target,
  })),

  'GET credentials': listing(theSegment, (world) =>
    sides(world).map((side) => ({ text: `"name":"${side.name}-key"`, seen: [side.segment] })),
  ),
  'POST credentials': changing('credentials.edit', theSegment, (side) => ({
    path: '',
    json: staleCredential(side.segmentId),
    place: side.segment,
    unseen: 400,
  })),
  'GET credentials/:id': reading(theSegment, (side) => ({ path: side.credentialId, place: side.segment })),
  'POST credentials/:id/versions': changing('credentials.edit', theSegment, (side) => ({
    path: `${side.credentialId}/versions`,
    json: { version: 2, sealed: staleCredential(side.segmentId).sealed },
    place: side.segment,
  })),
  // A target uses it, so it stays.
  'DELETE credentials/:id': changing('credentials.edit', theSegment, (side) => ({
    path: side.credentialId,
    place: side.segment,
  })),

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
    on: 'each target and target group that it names; selectors select of what may be seen',
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
    on: theSegment,
    cases: (world) =>
      sides(world).map((side) => ({
        path: '',
        // The name is taken.
        json: { segmentId: side.segmentId, name: `${side.name}-host`, host: 'x.example' },
        reads: [each(side.target)],
        needs: [['targets.edit', each(side.segment)]],
        unseen: 400,
      })),
  },
  'PUT targets/:id': changing('targets.edit', theTarget, (side) => ({
    path: `${side.targetId}`,
    json: { name: `${side.name}-host`, host: `${side.name}.example` },
    place: side.target,
  })),
  // An open run uses it, so it stays.
  'DELETE targets/:id': changing('targets.edit', theTarget, (side) => ({
    path: `${side.targetId}`,
    place: side.target,
  })),
  'POST targets/:id/test': {
    permission: 'targets.test',
    on: `${theTarget}, and \`credentials.use\` there`,
    cases: (world) =>
      sides(world).map((side) => ({
        path: `${side.targetId}/test`,
        reads: [each(side.target)],
        needs: [
          ['targets.test', each(side.target)],
          ['credentials.use', each(side.target)],
        ],
      })),
  },
  'POST targets/:id/host-keys': changing('host_keys.approve', theTarget, (side) => ({
    path: `${side.targetId}/host-keys`,
    json: { fingerprint: `SHA256:${'A'.repeat(43)}` },
    place: side.target,
  })),

  'GET target-groups': listing('the group; its name also by a target in it', (world) =>
    sides(world).map((side) => ({ text: `"name":"${side.name}-group"`, seen: [side.target] })),
  ),
  'GET target-groups/:id': reading('the group; its name also by a target in it', (side) => ({
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
  // It has a target, so it stays.
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
    'the inventory, like itself; its plans only with `targets.edit` in each segment of theirs',
    (side) => ({ path: `${side.inventoryId}/plans`, place: side.segment }),
  ),
  'GET inventories/:id/plans/:plan': changing('targets.edit', thePlan, (side) => ({
    path: `${side.inventoryId}/plans/${side.planId}`,
    place: side.segment,
  })),
  // It was applied.
  'POST inventories/:id/plans/:plan/apply': changing('targets.edit', thePlan, (side) => ({
    path: `${side.inventoryId}/plans/${side.planId}/apply`,
    json: { gone: 'keep' },
    place: side.segment,
  })),

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

/** Of a generation that never was, so that it is refused when all else is right. */
function staleCredential(segmentId: number) {
  const bytes = (length: number) => Buffer.alloc(length).toString('base64');
  return {
    id: '00000000-0000-4000-8000-000000000001',
    segmentId,
    name: 'stale',
    kind: 'ssh_password',
    sealed: {
      v: 1,
      generation: 99,
      enc: bytes(32),
      wrappedKey: bytes(48),
      nonce: bytes(12),
      ciphertext: bytes(272),
    },
  };
}
