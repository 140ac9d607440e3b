import type { RunStatus, Step } from '@opsconductor/protocol';
import { expect, it } from 'vitest';
import type { Host } from '../../../state/runs/run-hosts.svelte.ts';
import { load } from '../../../state/testing.ts';
import { failed } from '../matrix/testing.ts';

const { HostList } = await load<typeof import('./host-list.svelte.ts')>(
  'pages/run/hosts/host-list.svelte.ts',
);
const { Query } = await load<typeof import('../../../state/query.svelte.ts')>('state/query.svelte.ts');

const host = (id: number, status: RunStatus, steps: readonly Partial<Step>[] = []) =>
  ({
    targetRun: { id, status, targetName: `web-${id}`, segmentName: 'dmz-1', startedAt: null },
    steps,
  }) as unknown as Host;
const ids = (hosts: readonly Host[]) => hosts.map(({ targetRun }) => targetRun.id);

/** A list whose hosts can be replaced, as the run's stream does it. */
function setup(...first: Host[]) {
  const hosts = new Query<Host[]>(async () => first);
  hosts.data = first;
  const source = {
    get hosts() {
      return hosts.data ?? [];
    },
    get run() {
      return { targetsTotal: this.hosts.length };
    },
    complete: true,
    hasAllSteps: true,
  };
  const set = (...next: Host[]) => {
    hosts.data = next;
  };
  return { list: new HostList(source), set, source };
}

it('hosts keep their groups and order while the pointer or the focus is on the list', () => {
  const { list, set } = setup(host(1, 'running'), host(2, 'running'));
  for (const isOn of ['hovered', 'focused'] as const) {
    set(host(1, 'running'), host(2, 'running'));
    list[isOn] = true;
    list.keepOrder();
    set(host(1, 'running'), host(2, 'failed'), host(3, 'unknown'));
    expect(ids(list.order)).toEqual([1, 2]);
    expect(list.order.map(({ targetRun }) => targetRun.status)).toEqual(['running', 'failed']);
    list[isOn] = false;
    list.keepOrder();
    expect(ids(list.order)).toEqual([3, 2, 1]);
  }
});

it('what the filter leaves out is gone at once, whatever keeps its order', () => {
  const { list } = setup(host(1, 'running'), host(2, 'failed'));
  list.hovered = true;
  list.keepOrder();
  list.filterBy('failed');
  expect([list.state, ids(list.order)]).toEqual(['failed', [2]]);
  list.filterBy('failed');
  expect([list.filter, list.state, list.isEmpty]).toEqual(['', undefined, false]);
  list.filter = 'web-9';
  expect(list.isEmpty).toBe(true);
});

it('what is found while reasons are still being read is shown, wherever the pointer is; from then on it stays', () => {
  const cause = [{ ...failed(100), stepNumber: 1 }];
  const { list, set, source } = setup(host(1, 'failed'), host(2, 'failed'), host(3, 'running'));
  source.hasAllSteps = false;
  list.filter = 'why:exit_100';
  list.hovered = true;
  list.keepOrder();
  expect(ids(list.order)).toEqual([]);
  set(host(1, 'failed', cause), host(2, 'failed', cause), host(3, 'running'));
  expect(ids(list.order)).toEqual([1, 2]);
  list.keepOrder();
  set(host(1, 'failed', cause), host(2, 'failed', cause), host(3, 'failed'));
  list.keepOrder();
  set(host(1, 'failed', cause), host(2, 'failed', cause), host(3, 'failed', cause));
  expect(ids(list.order)).toEqual([1, 2]);
});

it('a large group begins folded, is unfolded for a host in it, and stays as it was folded', () => {
  const { list } = setup(host(99, 'failed'), ...Array.from({ length: 60 }, (_, at) => host(at, 'succeeded')));
  const folded = () => list.groups.map((group) => list.isFolded(group));
  expect(folded()).toEqual([false, true]);
  list.reveal(7);
  list.reveal(99);
  expect(folded()).toEqual([false, false]);
  list.fold('succeeded');
  list.fold('failed');
  expect(folded()).toEqual([true, true]);
});

it('a large run opens as a map, unless rows were asked for', () => {
  const { list, set } = setup(host(1, 'queued'));
  expect(list.isMap).toBe(false);
  set(...Array.from({ length: 201 }, (_, at) => host(at, 'queued')));
  expect(list.isMap).toBe(true);
  list.showAs('rows');
  expect(list.isMap).toBe(false);
});

it('leads from host to host to the ends of the list, and round those in need', () => {
  const { list } = setup(host(1, 'failed'), host(2, 'held'), host(3, 'succeeded'));
  const [first, second, last] = ids(list.order);
  expect(list.beside(first, -1)?.targetRun.id).toBe(first);
  expect(list.beside(first, 2)?.targetRun.id).toBe(last);
  expect(list.beside(undefined, 1)?.targetRun.id).toBe(first);
  expect(list.nextInNeed(last)?.targetRun.id).toBe(first);
  expect(list.nextInNeed(first)?.targetRun.id).toBe(second);
  expect(list.nextInNeed(second)?.targetRun.id).toBe(first);
});

it('a filter by the cause of a failure asks for the steps of all failed hosts, and is partial until they are there', () => {
  const cause = [{ ...failed(100), stepNumber: 1 }];
  const first = [host(1, 'failed', cause), host(2, 'failed'), host(3, 'succeeded')];
  const whole = setup(...first).list;
  whole.filter = 'why:exit_100';
  expect([ids(whole.order), ids(whole.needed), whole.isPartial]).toEqual([[1], [], false]);
  const { list, set, source } = setup(...first);
  source.hasAllSteps = false;
  list.filter = 'why:exit_100';
  expect([ids(list.order), ids(list.needed), list.isPartial]).toEqual([[1], [1, 2], true]);
  set(host(1, 'failed', cause), host(2, 'failed', cause), host(3, 'succeeded'));
  expect([ids(list.order), list.isPartial]).toEqual([[1, 2], false]);
  list.filter = 'state:failed';
  expect(ids(list.needed)).toEqual([]);
});
