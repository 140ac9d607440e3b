// What the routes of runs, their output, artifacts and decisions, and the queue need.
import {
  allOf,
  type Case,
  each,
  everywhere,
  listing,
  type Needs,
  oneOf,
  readsRuns,
  sides,
  theRun,
  theSegment,
} from './needs.ts';

/** On ended runs, so that a caller who may cancel is told that it is too late. */
const cancelsRuns: Needs = {
  permission: 'run',
  on: 'the job’s category, or each target of the run; with `purge=true` also `runs.purge` on the category',
  cases: ({ ended, open }) => [
    ...ended.map((run): Case => ({ path: `${run.id}`, reads: [oneOf(run)], needs: [['run', allOf(run)]] })),
    ...open.map(
      (run): Case => ({
        path: `${run.id}?purge=true`,
        reads: [oneOf(run)],
        needs: [
          ['run', allOf(run)],
          ['runs.purge', each(run.category)],
        ],
      }),
    ),
  ],
};

export const runNeeds: Record<string, Needs> = {
  'GET runs': listing(theRun, ({ ended }) =>
    ended.map((run) => ({
      text: `"jobName":"${run.jobName}"`,
      seen: run.targetRuns.map(({ place }) => place),
    })),
  ),
  'GET runs/:id': readsRuns((run) => `${run.id}`),
  'GET runs/:id/explain': readsRuns((run) => `${run.id}/explain`),
  'GET runs/:id/steps': readsRuns((run) => `${run.id}/steps`),
  'GET runs/:id/target-runs': readsRuns((run) => `${run.id}/target-runs`),
  'GET runs/:id/ssh-connections': readsRuns((run) => `${run.id}/ssh-connections`),
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
  /** On ended runs, so that a caller who may decide is told that it is too late. */
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
    on: 'the job’s category and each of the targets, and `credentials.use` on each and on the jump hosts in front of it',
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
  /** On ended runs, so that a caller who may cancel is told that it is too late. */
  'POST runs/:id/target-runs/:targetRun/cancel': {
    permission: 'run',
    on: 'the job’s category, or each target of the run',
    cases: ({ ended }) =>
      ended.flatMap((run) =>
        run.targetRuns.map(({ id, place }) => ({
          path: `${run.id}/target-runs/${id}/cancel`,
          reads: [each(place)],
          needs: [['run', allOf(run)]],
        })),
      ),
  },
  'GET executor/status': listing('steps and runs: those that are seen; segments: the segment', (world) =>
    sides(world).map((side) => ({ text: `"name":"${side.name}"`, seen: [side.segment] })),
  ),
  'GET executor/overview': listing('segments: the segment; steps: those that are seen', () => []),
  'GET metrics': everywhere('metrics.read'),
  'GET worker/status': listing(theSegment, (world) =>
    sides(world).map((side) => ({ text: `"name":"${side.name}-agent"`, seen: [side.segment] })),
  ),

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
};
