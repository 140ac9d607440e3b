import { maxPreparedSteps } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import type { ClaimedStep } from '../../store/queue/claims/claims.ts';
import { announceSteps } from './announce-steps.ts';

function setup() {
  const told: unknown[] = [];
  const links = new Map(
    [1, 2].map((agentId) => [
      agentId,
      { sessionNumber: 7, prepare: (steps: unknown) => void told.push([agentId, steps]) },
    ]),
  );
  return { told, linkOf: (agentId: number) => links.get(agentId) };
}

function claimed(
  id: number,
  more: Partial<ClaimedStep> = {},
  targetId: number | null = id + 100,
): ClaimedStep {
  const step = { id, epoch: 1, agentId: 1, sessionNumber: 7, stepType: 'ssh.exec', details: { targetId } };
  return { ...step, ...more } as ClaimedStep;
}

test('each agent is told of all its steps in one message', () => {
  const t = setup();
  announceSteps([claimed(1), claimed(2, { agentId: 2 }), claimed(3)], t.linkOf);
  expect(t.told).toEqual([
    [
      1,
      [
        { step: 1, epoch: 1, target: 101 },
        { step: 3, epoch: 1, target: 103 },
      ],
    ],
    [2, [{ step: 2, epoch: 1, target: 102 }]],
  ]);
});

test.each([
  ['of another type', claimed(1, { stepType: 'winrm.exec' })],
  ['of an agent that has come back since', claimed(1, { sessionNumber: 6 })],
  ['of an agent that is connected elsewhere', claimed(1, { agentId: 3 })],
  ['whose target was deleted', claimed(1, {}, null)],
])('nothing is said of a step %s', (_, step) => {
  const t = setup();
  announceSteps([step], t.linkOf);
  expect(t.told).toEqual([]);
});

test('nothing is said while many steps start', () => {
  const t = setup();
  const steps = Array.from({ length: maxPreparedSteps + 1 }, (_, index) => claimed(index + 1));
  announceSteps(steps, t.linkOf);
  expect(t.told).toEqual([]);
  announceSteps(steps.slice(1), t.linkOf);
  expect(t.told).toHaveLength(1);
});
