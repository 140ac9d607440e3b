// The mock API's answers about lists of jobs, bulk actions on them and imports; undefined for anything else.
import {
  type BulkJobRequest,
  type JobCounts,
  type JobListItem,
  jobStates,
  runStatuses,
} from '@opsconductor/protocol';

interface Answer {
  status: number;
  body: unknown;
}
const ok = (body: unknown): Answer => ({ status: 200, body });
const lastOf = (job: JobListItem) => job.lastRuns[0]?.status ?? 'none';

export function jobsAnswer(
  route: string,
  query: URLSearchParams,
  body: unknown,
  all: readonly JobListItem[],
): Answer | undefined {
  switch (route) {
    case 'GET /jobs': {
      const items = all.filter((job) => fits(job, query)).toSorted((a, b) => (a.name < b.name ? -1 : 1));
      return ok({
        items,
        nextCursor: null,
        ...(query.get('count') === 'true' ? { total: items.length } : {}),
      });
    }
    case 'GET /jobs/counts':
      return ok(countsOf(all));
    case 'GET /jobs/labels': {
      const names = [...new Set(all.flatMap(({ labels }) => Object.keys(labels)))].sort();
      const items = names.map((name) => {
        const having = all.filter(({ labels }) => Object.hasOwn(labels, name));
        const values = [...new Set(having.map(({ labels }) => labels[name] ?? ''))].filter(Boolean);
        return { name, jobs: having.length, values };
      });
      return ok({ items, nextCursor: null });
    }
    case 'POST /jobs/bulk': {
      const { ids = [], action, dryRun = false } = body as BulkJobRequest;
      const plan = all
        .filter(({ id }) => ids.includes(id))
        .map(({ id, name, state }) => ({ id, name, before: state, after: action }));
      return ok({ selected: ids.length, changed: plan.length, dryRun, plan, obstacles: [] });
    }
    case 'GET /job-imports':
      return ok({ items: [] });
    default:
      return undefined;
  }
}

function fits(job: JobListItem, query: URLSearchParams): boolean {
  const text = query.get('search')?.toLowerCase() ?? '';
  const category = query.get('category');
  const [label, value] = query.get('label')?.split('=') ?? [];
  return (
    `${job.name} ${job.description}`.toLowerCase().includes(text) &&
    (category === null || job.category === category || job.category.startsWith(`${category}/`)) &&
    (label === undefined ||
      (Object.hasOwn(job.labels, label) && (value ?? job.labels[label]) === job.labels[label])) &&
    (query.get('state')?.split(',').includes(job.state) ?? job.state !== 'archived') &&
    (query.get('lastResult')?.split(',').includes(lastOf(job)) ?? true) &&
    (query.get('template') === null || query.get('template') === String(job.isTemplate))
  );
}

function countsOf(all: readonly JobListItem[]): JobCounts {
  const number = (fit: (job: JobListItem) => boolean) => all.filter(fit).length;
  return {
    total: number(({ state }) => state !== 'archived'),
    states: jobStates.map((state) => ({ state, jobs: number((job) => job.state === state) })),
    lastResults: [...runStatuses, 'none' as const].map((lastResult) => ({
      lastResult,
      jobs: number((job) => lastOf(job) === lastResult),
    })),
    categories: [...new Set(all.map(({ category }) => category))].map((category) => ({
      category,
      jobs: number((job) => job.category === category),
    })),
    templates: number(({ isTemplate }) => isTemplate),
  };
}
