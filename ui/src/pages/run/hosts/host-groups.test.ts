import type { RunStatus, Step, StepStatus } from '@opsconductor/protocol';
import { describe, expect, it } from 'vitest';
import type { Host } from '../../../state/runs/run-hosts.svelte.ts';
import {
  filterHosts,
  firstToShow,
  groupHosts,
  groupText,
  stepElsewhere,
  stepInView,
  stepToShow,
} from './host-groups.ts';

let nextId = 1;
function host(
  targetName: string,
  status: RunStatus,
  steps: StepStatus[] = [],
  startedAt: string | null = null,
): Host {
  const id = nextId++;
  return {
    targetRun: {
      id,
      targetId: id,
      targetName,
      segmentId: 1,
      segmentName: 'dmz-1',
      status,
      startedAt,
      completedAt: null,
      endReason: null,
    },
    steps: steps.map(
      (stepStatus, at) =>
        ({
          stepNumber: at + 1,
          status: stepStatus,
          attempt: stepStatus === 'pending' || stepStatus === 'ready' ? 0 : 1,
        }) as Step,
    ),
  };
}
const names = (hosts: readonly Host[]) => hosts.map((one) => one.targetRun.targetName);

describe('the hosts of a run', () => {
  it('list trouble first and succeeded ones last', () => {
    const groups = groupHosts([
      host('a', 'succeeded'),
      host('b', 'running'),
      host('c', 'unknown'),
      host('d', 'queued'),
      host('e', 'failed'),
      host('f', 'held'),
    ]);
    expect(groups.map((group) => group.status)).toEqual([
      'unknown',
      'held',
      'failed',
      'running',
      'queued',
      'succeeded',
    ]);
    expect(names([firstToShow(groups) as Host])).toEqual(['c']);
  });

  it('are sorted by name in natural order, running ones by how long they have been running', () => {
    const [running, ended] = groupHosts([
      host('web-10', 'succeeded'),
      host('web-9', 'succeeded'),
      host('new', 'running', [], '2026-11-24T02:20:00.000Z'),
      host('old', 'running', [], '2026-11-24T02:14:00.000Z'),
    ]);
    expect(names(running?.hosts ?? [])).toEqual(['old', 'new']);
    expect(names(ended?.hosts ?? [])).toEqual(['web-9', 'web-10']);
  });

  it('are counted by their current status while they stay in their previous group', () => {
    const group = (...statuses: RunStatus[]) => ({
      status: 'running' as const,
      hosts: statuses.map((status) => host('a', status)),
    });
    expect(groupText(group('running', 'running'))).toBe('2 running');
    expect(groupText(group('running', 'succeeded', 'failed'))).toBe('1 running, 2 no longer');
    expect(groupText(group('succeeded'))).toBe('0 running, 1 no longer');
  });

  it('are filtered by name, segment and state together', () => {
    const hosts = [host('dmz-web-1', 'failed'), host('dmz-web-2', 'timed_out'), host('dmz-db-1', 'failed')];
    expect(names(filterHosts(hosts, 'web state:failed'))).toEqual(['dmz-web-1']);
    expect(names(filterHosts(hosts, 'state:failed,timed'))).toHaveLength(3);
    expect(names(filterHosts(hosts, 'segment:core'))).toEqual([]);
    expect(filterHosts(hosts, '  ')).toBe(hosts);
  });

  it('open at the step that runs, otherwise the one that failed, otherwise the last that began', () => {
    expect(stepToShow(host('a', 'running', ['succeeded', 'running', 'pending']))).toBe(2);
    expect(stepToShow(host('a', 'failed', ['succeeded', 'failed', 'skipped']))).toBe(2);
    expect(stepToShow(host('a', 'cancelled', ['succeeded', 'cancelled', 'succeeded']))).toBe(2);
    expect(stepToShow(host('a', 'succeeded', ['succeeded', 'succeeded']))).toBe(2);
    expect(stepToShow(host('a', 'succeeded', ['succeeded', 'skipped']))).toBe(1);
    expect(stepToShow(host('a', 'succeeded', ['succeeded', 'skipped', 'succeeded']))).toBe(3);
    expect(stepToShow(host('a', 'queued', ['pending', 'pending']))).toBe(1);
  });
});

describe('the step on the screen', () => {
  const nobody = { picked: undefined, shown: undefined, stays: false };

  it('is the one that runs while the host makes progress, and at the end the first that failed', () => {
    const inTurn: StepStatus[][] = [
      ['ready', 'pending', 'pending'],
      ['running', 'pending', 'pending'],
      ['succeeded', 'ready', 'pending'],
      ['succeeded', 'running', 'pending'],
      ['succeeded', 'failed', 'skipped'],
    ];
    const shown = inTurn.map((steps) => stepInView(host('a', 'running', steps), { ...nobody, shown: 1 }));
    expect(shown).toEqual([1, 1, 1, 2, 2]);
  });

  it('is the one that was picked, whatever else runs or fails', () => {
    const reader = { picked: 1, shown: 2, stays: false };
    expect(stepInView(host('a', 'running', ['succeeded', 'running']), reader)).toBe(1);
    expect(stepInView(host('a', 'failed', ['succeeded', 'failed']), reader)).toBe(1);
  });

  it('stays the one whose output someone has scrolled up to read', () => {
    const going = host('a', 'running', ['succeeded', 'running']);
    expect(stepInView(going, { picked: undefined, shown: 1, stays: true })).toBe(1);
    expect(stepInView(going, { picked: undefined, shown: undefined, stays: true })).toBe(2);
  });

  it('links to the one that runs while another one is shown', () => {
    const going = host('a', 'running', ['succeeded', 'running']);
    expect(stepElsewhere(going, 1)?.stepNumber).toBe(2);
    expect(stepElsewhere(going, 2)).toBeUndefined();
    expect(stepElsewhere(host('a', 'failed', ['succeeded', 'failed']), 1)).toBeUndefined();
  });
});
