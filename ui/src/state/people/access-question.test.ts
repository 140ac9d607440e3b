import { expect, it } from 'vitest';
import { load } from '../testing.ts';

const { AccessQuestion } = await load<typeof import('./access-question.svelte.ts')>(
  'state/people/access-question.svelte.ts',
);
const job = { kind: 'job', id: 4, name: 'Patch' } as const;
const target = { kind: 'target', id: 9, name: 'host' } as const;
const group = { kind: 'target_group', id: 5, name: 'web' } as const;

it('running can be asked about a job and a target together', () => {
  const question = new AccessQuestion();
  question.job = job;
  question.target = target;
  expect(question.query).toEqual({ permission: 'run', job: 4, target: 9 });
});

it('only things that the permission applies to can be asked about', () => {
  const question = new AccessQuestion();
  question.job = job;
  question.target = group;
  question.permission = 'targets.edit';
  expect([question.jobKinds, question.query]).toEqual([[], { permission: 'targets.edit', targetGroup: 5 }]);
  question.permission = 'agents.manage';
  expect([question.targetKinds, question.query]).toEqual([['segment'], { permission: 'agents.manage' }]);
  question.permission = 'people.edit';
  expect([question.jobKinds, question.targetKinds]).toEqual([[], []]);
});
