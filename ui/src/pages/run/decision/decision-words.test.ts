import type { HeldGroup, Step } from '@opsconductor/protocol';
import { describe, expect, it } from 'vitest';
import {
  answers,
  answerWords,
  causeWords,
  decideRequest,
  decideWords,
  groupKey,
  nowWords,
  waitWords,
} from './decision-words.ts';

const heldStep = (id: number) => ({
  id,
  attempt: 1,
  targetRunId: id * 10,
  targetName: `host-${id}`,
  heldUntil: '',
});
const group = (count: number, fields: Partial<HeldGroup> = {}): HeldGroup => ({
  stepNumber: 3,
  stepName: 'apply',
  agentName: 'dmz-1-b',
  reason: 'agent_silent',
  count,
  message: null,
  heldUntil: '',
  consequences: { succeeded: '', failed: '', retry: '', cancel: '' },
  steps: Array.from({ length: Math.min(count, 100) }, (_, at) => heldStep(at + 1)),
  ...fields,
});

describe('what is asked of the server', () => {
  it('names the steps and attempts that were seen, so that any that changed refuses it', () => {
    expect(decideRequest(group(2), 'failed', 'Looked.')).toEqual({
      decision: 'failed',
      note: 'Looked.',
      steps: [
        { id: 1, attempt: 1 },
        { id: 2, attempt: 1 },
      ],
    });
  });

  it('names agent, step and reason with the number of steps that was shown if not all can be named', () => {
    expect(decideRequest(group(300), 'succeeded', 'All there.')).toEqual({
      decision: 'succeeded',
      note: 'All there.',
      stepNumber: 3,
      expected: 300,
      agentName: 'dmz-1-b',
      reason: 'agent_silent',
    });
    expect(decideRequest(group(101, { agentName: null, reason: null }), 'retry', 'x')).toEqual({
      decision: 'retry',
      note: 'x',
      stepNumber: 3,
      expected: 101,
    });
  });

  it('is about a single host if only that is meant, however many there are', () => {
    expect(decideRequest(group(300), 'cancel', 'x', heldStep(7)).steps).toEqual([{ id: 7, attempt: 1 }]);
  });
});

it('each answer has its own wording, and the dialog says for how many hosts it is', () => {
  expect(new Set(answers.map((answer) => answerWords(answer, group(2)))).size).toBe(4);
  expect(decideWords('succeeded', { stepNumber: 3, hosts: 300 })).toBe(
    'Count step 3 as succeeded on 300 hosts',
  );
  expect(decideWords('retry', { stepNumber: 3, hosts: 1 })).toBe('Run step 3 again on 1 host');
});

it('the cause depends on the reason, and a reason without wording is named', () => {
  expect(causeWords(group(1))).toBe('Agent dmz-1-b went silent while step 3, apply, ran.');
  expect(causeWords(group(1, { agentName: null, reason: 'supervisor_lost' }))).toBe(
    'Its agent was cut off while step 3, apply, ran (supervisor lost).',
  );
});

it('only an agent that went silent is said to be able to report a result itself', () => {
  expect(waitWords({ reason: 'agent_silent' })).toMatch(/^If the agent returns first, its result decides;/);
  for (const reason of ['agent_restarted', 'agent_revoked', 'connection_lost', null])
    expect(waitWords({ reason })).toBe('If nobody decides by');
});

it('questions differ by step, agent and reason, and by nothing else', () => {
  expect(groupKey(group(2))).toBe(groupKey(group(300)));
  expect(groupKey(group(2, { reason: 'agent_restarted' }))).not.toBe(groupKey(group(2)));
});

it('a decision that came too late says what the steps are now', () => {
  const now = (id: number, fields: Partial<Step>) => ({
    host: `host-${id}`,
    step: fields as Step,
    attempt: 1,
  });
  expect(
    nowWords([now(1, { status: 'succeeded', attempt: 1 }), now(2, { status: 'running', attempt: 2 })]),
  ).toBe('host-1: succeeded; host-2: running, with attempt 2');
  const many = Array.from({ length: 7 }, (_, at) => now(at, { status: 'failed', attempt: 1 }));
  expect(nowWords(many)).toMatch(/host-4: failed and 2 more hosts$/);
});
