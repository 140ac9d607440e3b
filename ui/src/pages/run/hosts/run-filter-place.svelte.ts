// The filter of a run's hosts is in the address, so that what it leaves can be shown to somebody.
import { untrack } from 'svelte';
import { paths, type RunPlace, readLineAnchor } from '../../../paths.ts';
import { afterTyping } from '../../../state/lists/after-typing.svelte.ts';
import { router } from '../../../state/router.svelte.ts';
import { readFilter } from './host-groups.ts';
import type { HostList } from './host-list.svelte.ts';

const filterInAddress = () => router.query.get('filter') ?? '';

/** A place in the run whose page is open, with its filter. */
export function placeInRun(runId: number, place: RunPlace = {}): string {
  return paths.run(runId, { filter: filterInAddress(), ...place });
}

/**
 * Filters as the address says, now and when the history or a link changes it, and writes there what is filtered by; for
 * the initialization of a component.
 */
export function followFilter(runId: number, list: HostList, onread: () => void): void {
  let known = filterInAddress();
  list.filterAs(readFilter(known));
  $effect(() => {
    const now = filterInAddress();
    if (now === known) return;
    known = now;
    list.filterAs(readFilter(now));
    untrack(onread);
  });
  const write = afterTyping((filter) => {
    if (filter === known) return;
    known = filter;
    const [host, step, attempt] = ['host', 'step', 'attempt'].map((name) => router.queryId(name));
    router.replace(paths.run(runId, { host, step, attempt, filter, lines: readLineAnchor(router.hash) }));
  });
  $effect(() => write(list.filter.trim()));
}
