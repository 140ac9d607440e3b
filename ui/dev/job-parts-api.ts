// The mock API for the parts of a job's page: its versions, how they differ, its history, statistics and health.
import type {
  Job,
  JobHealth,
  JobHistoryEntry,
  JobStatistics,
  JobVersion,
  JobVersionHead,
  VersionComparison,
} from '@opsconductor/protocol';
import { ago } from './fixtures.ts';
import type { Answer } from './people-api.ts';

const day = 24 * 3_600_000;
const notes = [
  'Reboots only if the packages ask for it',
  '',
  'CHG-20117: the balancers drain one at a time, because two of them at once left the shop without a healthy backend for nine minutes in October',
  '',
  'Snapshot before the update',
];

const nameOf = (kind: 'tag' | 'channel', name: string, version: number) => ({
  kind,
  name,
  version,
  setBy: 'admin',
  setAt: ago(2 * day),
});
/** The versions of a job, newest first. */
function versionsOf(job: Job): JobVersionHead[] {
  return Array.from({ length: job.version }, (_, at) => {
    const version = job.version - at;
    return {
      version,
      isCurrent: at === 0,
      createdBy: at % 3 === 0 ? 'admin' : 'c.moreau',
      createdAt: ago((at * 6 + 2) * day),
      note: notes[at % notes.length] ?? '',
      restores: at === 3 ? version - 4 : null,
      checksum: `${version.toString(16).padStart(2, '0')}3e6b1f0c9e47d29b1d0f2c7e5a4b3c2d1e0f9a8b7c6d5e4f3a2b1c0d9e8f7a`,
      stepCount: job.definition.steps.length,
      names:
        at === 0
          ? [nameOf('channel', 'canary', version)]
          : at === 1
            ? [
                nameOf('channel', 'stable', version),
                nameOf('tag', 'before-the-move-to-the-new-package-mirror', version),
              ]
            : [],
    };
  });
}

/** The definition of a version: the current one has a longer timeout and another command than those before. */
function definitionOf({ definition, version: current }: Job, version: number): JobVersion['definition'] {
  if (version === current) return definition;
  const steps = definition.steps.map((step) =>
    step.name === 'apply'
      ? {
          ...step,
          config: { ...Object(step.config), command: 'set -eux\napt-get -q update\napt-get -qy upgrade' },
        }
      : step,
  );
  return { ...definition, timeout: 3600, steps };
}

function comparisonOf(job: Job, from: number, to: number): VersionComparison {
  const [later, earlier] = [to, from].map((wanted) =>
    versionsOf(job).find(({ version }) => version === wanted),
  );
  const side = (version: number, head: JobVersionHead | undefined) => ({
    version,
    createdBy: head?.createdBy ?? 'admin',
    createdAt: head?.createdAt ?? ago(day),
    note: head?.note ?? '',
  });
  return {
    from: side(from, earlier),
    to: side(to, later),
    isSame: from === to,
    changes:
      from === to
        ? []
        : [
            { path: 'timeout', kind: 'changed', before: 3600, after: 7200 },
            {
              path: 'steps[2].config.command',
              step: 'apply',
              kind: 'changed',
              before: 'set -eux\napt-get -q update\napt-get -qy upgrade',
              after:
                'set -eux\napt-get -q update\napt-get -qy -o Dpkg::Options::=--force-confold dist-upgrade',
              hunks: [
                {
                  beforeStart: 1,
                  beforeLines: 3,
                  afterStart: 1,
                  afterLines: 3,
                  lines: [
                    { op: 'same', text: 'set -eux' },
                    { op: 'same', text: 'apt-get -q update' },
                    { op: 'removed', text: 'apt-get -qy upgrade' },
                    { op: 'added', text: 'apt-get -qy -o Dpkg::Options::=--force-confold dist-upgrade' },
                  ],
                },
              ],
            },
            { path: 'steps[1].retry', step: 'snapshot', kind: 'added', after: { attempts: 3, delay: 30 } },
            { path: 'steps[3]', beforePath: 'steps[2]', step: 'verify', kind: 'moved' },
            { path: 'locks[1]', kind: 'removed', before: { name: 'change-window', mode: 'exclusive' } },
          ],
  };
}

function historyOf(job: Job): JobHistoryEntry[] {
  const saved = versionsOf(job).map(
    ({ version, createdAt, createdBy, note, restores }): JobHistoryEntry => ({
      at: createdAt,
      by: createdBy,
      kind: version === 1 ? 'created' : restores === null ? 'saved' : 'rolled_back',
      summary:
        version === 1
          ? 'Created'
          : restores === null
            ? `Saved version ${version}`
            : `Rolled back to version ${restores}, as version ${version}`,
      version,
      note,
    }),
  );
  const moved: JobHistoryEntry = {
    at: ago(3 * day),
    by: 'a.okafor',
    kind: 'moved',
    summary: 'Moved from general to patching',
    version: null,
    note: '',
  };
  return [...saved, moved].toSorted((a, b) => (a.at < b.at ? 1 : -1));
}

function statisticsOf(days: number): JobStatistics {
  const shown = Math.min(days, 60);
  const byDay = Array.from({ length: shown }, (_, at) => {
    const runs = (at * 7) % 5;
    const failed = at % 6 === 2 ? Math.min(1, runs) : 0;
    const unknown = at % 17 === 9 ? Math.min(1, runs - failed) : 0;
    return {
      day: ago((shown - at) * day).slice(0, 10),
      runs,
      succeeded: runs - failed - unknown,
      failed,
      unknown,
      p50Ms: runs === 0 ? null : 600_000 + ((at * 37) % 11) * 30_000,
    };
  }).filter(({ runs }) => runs > 0);
  const sum = (of: 'runs' | 'succeeded' | 'failed' | 'unknown') =>
    byDay.reduce((total, one) => total + one[of], 0);
  return {
    days,
    since: ago(days * day),
    runs: sum('runs') + 3,
    byStatus: { succeeded: sum('succeeded'), failed: sum('failed'), unknown: sum('unknown'), cancelled: 2 },
    open: 1,
    successRate: sum('succeeded') / Math.max(1, sum('runs')),
    durations: { p50Ms: 640_000, p90Ms: 900_000, p99Ms: 1_900_000, maxMs: 4_100_000 },
    last: { id: 4127, status: 'running', createdAt: ago(13 * 60_000), executionTimeMs: null },
    byDay,
    isCut: days > 300,
  };
}

function healthOf(job: Job): JobHealth {
  if (job.id !== 1) return { status: 'ok', problems: [] };
  const message = 'Segment “lab”, in which it ran last, has no agent that could take a step now.';
  return { status: 'degraded', problems: [{ kind: 'segment_without_agents', message }] };
}

/** Answers a request below `/jobs/:id`; undefined for any other. */
export function jobPartsAnswer(job: Job, part: string, query: URLSearchParams): Answer | undefined {
  const page = (items: unknown[]) => ({ status: 200, body: { items, nextCursor: null } });
  const version = /^\/versions\/(\d+)$/.exec(part)?.[1];
  if (version !== undefined) {
    const head = versionsOf(job).find((one) => one.version === Number(version));
    if (head === undefined) return undefined;
    const whole: JobVersion = { ...head, definition: definitionOf(job, head.version) };
    return { status: 200, body: whole };
  }
  switch (part) {
    case '/versions':
      return page(versionsOf(job));
    case '/compare':
      return {
        status: 200,
        body: comparisonOf(job, Number(query.get('from')), Number(query.get('to') ?? job.version)),
      };
    case '/history':
      return page(historyOf(job));
    case '/statistics':
      return { status: 200, body: statisticsOf(Number(query.get('days') ?? 30)) };
    case '/health':
      return { status: 200, body: healthOf(job) };
    default:
      return undefined;
  }
}
