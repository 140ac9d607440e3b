// The mock API's answers about site rules; undefined for anything else.
import type { SiteRule, SiteRuleViolationPage } from '@opsconductor/protocol';
import { jobs } from './fixtures.ts';

const texts: readonly (readonly [
  name: string,
  message: string,
  condition: string,
  category: string | null,
])[] = [
  [
    'Time limit in production',
    'Jobs in production need a timeout, so that none holds its locks for a night.',
    'has(job.timeout)',
    'patching',
  ],
  [
    'Saved with a note',
    'Say what you have changed, and why: others read it at night.',
    'note != ""',
    'deployment',
  ],
  ['Has an owner', 'Label it with owner=…', '"owner" in job.labels', null],
  [
    'No step runs longer than 10 min',
    'Split it, or make it survive its agent.',
    'step.config.timeout <= 600',
    null,
  ],
  [
    'Batches on more than 20 hosts, beginning with one, and none larger than a quarter of all of them',
    'Begin with one host, so that what is wrong is seen before it is wrong everywhere; then go on in batches of a quarter at most.',
    'has(job.strategy) && job.strategy.batches[0] == 1 && job.strategy.batches.all(each, each <= 25)',
    'patching/servers/linux/production',
  ],
  [
    'Locks the load balancer',
    'Take the lock lb-pool.',
    'job.locks.exists(lock, lock.name == "lb-pool")',
    'network',
  ],
  ['Retries only what may be repeated', 'Set idempotent.', '!has(step.retry) || step.idempotent', null],
  ['No root', 'Use become for the steps that need it.', 'job.user != "root"', null],
];

const rules: SiteRule[] = Array.from({ length: 24 }, (_, at) => {
  const [name, message, condition, category] = texts[at % texts.length] as (typeof texts)[number];
  const round = Math.floor(at / texts.length);
  return {
    id: at + 1,
    name: round === 0 ? name : `${name} (${round + 1})`,
    description: '',
    ...{ category, message, condition },
    selector: at % 5 === 2 ? 'env in (prod, stage) !canary' : null,
    per: condition.startsWith('step') ? 'step' : 'job',
    path: at % 2 === 0 ? 'timeout' : '',
    severity: at % 3 === 1 ? 'warning' : 'error',
    isEnabled: at % 7 !== 5,
    version: 1 + (at % 4),
    ...{ createdBy: 'admin', updatedBy: at % 2 === 0 ? 'a.okafor' : 'automation-of-the-platform-team' },
    createdAt: new Date(Date.now() - 90 * 86_400_000).toISOString(),
    updatedAt: new Date(Date.now() - at * 26 * 3_600_000).toISOString(),
  };
});

export function siteRulesAnswer(
  route: string,
  isEmpty: boolean,
): { status: number; body: unknown } | undefined {
  if (route === 'GET /site-rules')
    return { status: 200, body: { items: isEmpty ? [] : rules, nextCursor: null } };
  if (route === 'POST /site-rules/try') return { status: 200, body: violations() };
  const [, method, id] = /^(GET|PUT|DELETE) \/site-rules\/(\d+)$/.exec(route) ?? [];
  const rule = rules.find((each) => each.id === Number(id));
  if (method === undefined || rule === undefined) return undefined;
  return method === 'DELETE' ? { status: 204, body: null } : { status: 200, body: rule };
}

function violations(): SiteRuleViolationPage {
  const items = jobs.slice(0, 3).map(({ id, name, category, version, state }) => ({
    ...{ jobId: id, jobName: name, category, version, state },
    problems: [
      { path: 'timeout', severity: 'error' as const, message: 'Jobs in production need a timeout.' },
    ],
  }));
  return { items, looked: jobs.length, inScope: 6, nextCursor: null };
}
