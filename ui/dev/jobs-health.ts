// The mock API's health of all jobs.
import type { JobsHealth } from '@opsconductor/protocol';
import { ago, jobs } from './fixtures.ts';

const nothing: Pick<JobsHealth, 'status' | 'problems' | 'items'> = { status: 'ok', problems: [], items: [] };
const named = (id: number) => ({ id, name: jobs.find((one) => one.id === id)?.name ?? '' });

export function jobsHealth(isEmpty: boolean): JobsHealth {
  const counts = { jobs: isEmpty ? 0 : jobs.length, openRuns: isEmpty ? 0 : 9, nextCursor: null };
  if (isEmpty) return { ...counts, ...nothing };
  return {
    ...counts,
    status: 'degraded',
    problems: [
      `Segment “plant-north”: 11 steps are ready, but no agent has been able to take them since ${ago(40 * 60_000)}. Agent plant-north-a is offline.`,
      '2 runs have not begun, although the deadline to start has passed.',
      '1 active job uses a step type that this server does not know.',
      '1 active job names a credential that does not exist.',
      '1 active job breaks a site rule.',
      '2 active jobs have failed in their last runs.',
    ],
    items: [
      {
        ...named(7),
        problems: [
          {
            kind: 'site_rule',
            message:
              'Breaks site rule “every command has a time limit”: steps[0].config.timeout is missing; give the command a limit of at most 2 h.',
            path: 'steps[0].config.timeout',
          },
          { kind: 'failing', message: 'Its last 3 runs all failed.' },
        ],
      },
      {
        ...named(6),
        problems: [
          {
            kind: 'unknown_credential',
            message:
              'No segment has a credential named “replication-of-the-databases-in-plants”, which it asks for.',
            path: 'steps[0]',
          },
        ],
      },
      { ...named(9), problems: [{ kind: 'failing', message: 'Its last 3 runs all failed.' }] },
      {
        ...named(12),
        problems: [
          { kind: 'unknown_step_type', message: 'This server does not know the step type redfish.update.' },
        ],
      },
    ],
  };
}
