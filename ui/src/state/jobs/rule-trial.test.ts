import type { CreateSiteRuleRequest, SiteRuleViolationPage } from '@opsconductor/protocol';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { PageQuery } from '../../api/page.ts';
import { load } from '../testing.ts';

const { RuleTrial } = await load<typeof import('./rule-trial.svelte.ts')>('state/jobs/rule-trial.svelte.ts');
const { ApiError } = await load<typeof import('../../api/client.ts')>('api/client.ts');

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const rule = (condition: string): CreateSiteRuleRequest => ({ name: 'r', message: 'm', condition });
const broken = (jobId: number) => ({ jobId }) as SiteRuleViolationPage['items'][number];

function trial() {
  const asked: [condition: string, cursor: string | undefined][] = [];
  const one = new RuleTrial(async ({ condition }: CreateSiteRuleRequest, { cursor }: PageQuery) => {
    asked.push([condition, cursor]);
    if (condition === 'wrong') throw new ApiError('invalid', 'It can’t be read.');
    return cursor === undefined
      ? { items: [broken(1)], looked: 100, inScope: 40, nextCursor: 'on' }
      : { items: [broken(2)], looked: 20, inScope: 5, nextCursor: null };
  });
  return { one, asked };
}

it('is looked up once, after nothing has been typed for a moment', async () => {
  const { one, asked } = trial();
  for (const text of ['j', 'jo', 'job.x']) one.follow(rule(text));
  expect(one.settled).toBe(false);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(asked).toEqual([['job.x', undefined]]);
  expect([one.settled, one.more, one.looked]).toEqual([true, true, 100]);
});

it('continues where it stopped, and adds up', async () => {
  const { one, asked } = trial();
  one.follow(rule('job.x'));
  await vi.advanceTimersByTimeAsync(1_000);
  await one.lookOn();
  await one.lookOn();
  expect(asked.map(([, cursor]) => cursor)).toEqual([undefined, 'on']);
  expect(one.items.map(({ jobId }) => jobId)).toEqual([1, 2]);
  expect([one.looked, one.inScope, one.more]).toEqual([120, 45, false]);
});

it('a failure is reported, and the earlier result no longer counts as that of this rule', async () => {
  const { one } = trial();
  one.follow(rule('job.x'));
  await vi.advanceTimersByTimeAsync(1_000);
  one.follow(rule('wrong'));
  await vi.advanceTimersByTimeAsync(1_000);
  expect([one.error?.code, one.settled, one.more]).toEqual(['invalid', false, false]);
  one.follow(undefined);
  expect(one.error).toBeUndefined();
});
