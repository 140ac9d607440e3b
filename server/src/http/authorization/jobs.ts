// What the routes of jobs, imports and exports of jobs, categories and site rules need.
import { deepStepsOf } from './authorization-world.ts';
import { type Case, changing, each, everywhere, listing, type Needs, reading, sides } from './needs.ts';

const theJob = 'the job’s category';
const savedWhere =
  'the job’s category, and for each credential that it names, `credentials.use` on its segment or a target in it';
const theFile =
  'some category; for its plan, the categories of its jobs, with what saving each needs, and for new categories `categories.edit` and `jobs.edit` everywhere';
const theImport = 'one’s own, and each category that it affects';
const steps = [{ name: 'only', type: 'ssh.exec', config: { command: 'uptime' } }];

/** A request that refers to nothing whose visibility matters. */
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

/** A request that prepares a start, and needs what the start itself needs. */
const asOfAStart = (tail: string): Needs => ({
  permission: 'run',
  on: 'the job’s category and each target, and `credentials.use` on each and on the jump hosts in front of it',
  cases: (world) =>
    sides(world).flatMap((jobOf) =>
      sides(world).map(
        (targetOf): Case => ({
          path: `${jobOf.jobId}/${tail}`,
          // The target has no credential, so that the request is refused.
          json: { targetIds: [targetOf.bareTargetId] },
          reads: [each(jobOf.category), each(targetOf.bareTarget)],
          needs: [
            ['run', each(jobOf.category, targetOf.bareTarget)],
            ['credentials.use', each(targetOf.bareTarget)],
          ],
        }),
      ),
    ),
});

export const jobNeeds: Record<string, Needs> = {
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
  'POST jobs/convert/rundeck': somewhere('any category, as nothing is saved', ''),
  'POST job-imports': somewhere(theFile, ''),
  'GET job-imports': listing('one’s own', () => [], '', 'jobs.edit'),
  // People see only their own imports; another person's is not found.
  'GET job-imports/:id': ofAnother(theImport, ''),
  'GET job-imports/:id/items/:position': ofAnother(theImport, '/items/1'),
  'POST job-imports/:id/choices': ofAnother(theImport, '/choices'),
  'POST job-imports/:id/apply': ofAnother(theImport, '/apply'),
  'DELETE job-imports/:id': ofAnother(theImport, ''),
  'POST jobs/bulk': {
    permission: 'jobs.edit',
    on: 'the category of each job, and the one to which they move',
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
    on: 'the category, and for each credential that it names, `credentials.use` on its segment or a target in it',
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
    on: 'some category, and the category of a job that it names',
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
    on: 'some category, the category of a job that it names, and `read` on a target that it names',
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
  'GET jobs/health': listing('the job’s category; shows the open runs that are seen', () => []),
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
  // None of these changes anything: the request asks for the current state, or is refused after all rights were
  // checked.
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
    on: 'the job’s category and each target, and `credentials.use` on each and on the jump hosts in front of it',
    cases: (world) =>
      sides(world).flatMap((jobOf) =>
        sides(world).map(
          (targetOf): Case => ({
            path: `${jobOf.jobId}/run`,
            // The target has no credential, so that nothing starts.
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

  'POST jobs/:id/grant-draft': asOfAStart('grant-draft'),

  'POST jobs/:id/sealing-keys': asOfAStart('sealing-keys'),

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

  'GET site-rules': everywhere('site_rules.edit'),
  'POST site-rules': everywhere('site_rules.edit'),
  'POST site-rules/try': everywhere('site_rules.edit'),
  'GET site-rules/:id': everywhere('site_rules.edit'),
  'PUT site-rules/:id': everywhere('site_rules.edit'),
  'DELETE site-rules/:id': everywhere('site_rules.edit'),
  'GET site-rules/:id/violations': everywhere('site_rules.edit'),
};
