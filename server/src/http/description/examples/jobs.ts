// Example answers of the routes of jobs, for the description. A test checks them against the schemas.
import {
  exampleJobs,
  type Job,
  type JobPage,
  type JobsHealth,
  type SaveJobReply,
} from '@opsconductor/protocol';

const listed = {
  id: 7,
  name: 'Restart a service',
  description: 'Restarts one service, a tenth of the hosts at a time, and checks that it is back.',
  category: 'prod/web',
  version: 3,
  state: 'active',
  isActive: true,
  labels: { team: 'web' },
  isTemplate: false,
  stepCount: 2,
  stepTypes: ['ssh.exec'],
  createdBy: 'ada',
  createdAt: '2026-11-02T08:15:00.000Z',
  updatedAt: '2026-11-25T09:30:12.000Z',
} as const;

export const jobExample = {
  ...listed,
  stepTypes: ['ssh.exec'],
  categoryId: 4,
  stateNote: '',
  nextStates: ['inactive', 'archived'],
  madeFrom: null,
  names: [{ name: 'stable', kind: 'channel', version: 2, setBy: 'ada', setAt: '2026-11-20T10:00:00.000Z' }],
  savedAt: '2026-11-25T09:30:12.000Z',
  savedBy: 'ben',
  note: 'Smaller batches',
  definition: exampleJobs[0] as Job['definition'],
  checksum: 'b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c',
} satisfies Job;

export const jobPageExample = {
  items: [
    {
      ...listed,
      stepTypes: ['ssh.exec'],
      lastRuns: [
        { id: 214, status: 'succeeded', createdAt: '2026-11-26T06:00:00.000Z', executionTimeMs: 41_200 },
      ],
    },
  ],
  nextCursor: null,
  total: 1,
} satisfies JobPage;

export const savedJobExample = {
  job: jobExample,
  isNewVersion: true,
  message: 'Saved as version 3.',
} satisfies SaveJobReply;

export const jobsHealthExample = {
  status: 'degraded',
  jobs: 128,
  openRuns: 2,
  problems: ['1 active job names a credential that does not exist.'],
  items: [
    {
      id: 12,
      name: 'Back up databases',
      problems: [
        {
          kind: 'unknown_credential',
          message: 'No segment has a credential named “backup”, which it asks for.',
          path: 'steps[0]',
        },
      ],
    },
  ],
  nextCursor: null,
} satisfies JobsHealth;
