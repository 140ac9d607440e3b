// The hosts of a run as its list shows them: filtered, grouped, folded or as a map. Rows don't move under the pointer or
// the keyboard focus: while either is on the list, hosts keep their groups and order.
import type { RunStatus } from '@opsconductor/protocol';
import { untrack } from 'svelte';
import type { Host } from '../../../state/runs/run-hosts.svelte.ts';
import { type Cause, hasFailed } from './causes.ts';
import { filterHosts, foldAbove, groupHosts, type HostGroup, mapAbove, needsCauses } from './host-groups.ts';

export interface HostSource {
  readonly hosts: readonly Host[];
  /** Whether all hosts are loaded. */
  readonly complete: boolean;
  /** Whether their steps are, too; if not, only those of some. */
  readonly hasAllSteps: boolean;
  readonly run: { targetsTotal: number } | undefined;
}

export class HostList {
  filter = $state('');
  /** Whether the pointer or the keyboard focus is on the list. */
  hovered = $state(false);
  focused = $state(false);
  readonly #source: HostSource;
  #asMap = $state<boolean>();
  #unfolded = $state.raw(new Map<RunStatus, boolean>());
  #held = $state.raw<HostGroup[]>();
  /** The filter of which all hosts were found once: until then, nobody reads an order that could be kept. */
  #foundFor: string | undefined;
  readonly #fitting = $derived.by(() => filterHosts(this.#source.hosts, this.filter));
  readonly #live = $derived(groupHosts(this.#fitting));
  readonly groups: readonly HostGroup[] = $derived.by(() => {
    if (this.#held === undefined) return this.#live;
    const now = new Map(this.#fitting.map((host) => [host.targetRun.id, host]));
    return this.#held
      .map((group) => ({
        ...group,
        hosts: group.hosts.flatMap((host) => now.get(host.targetRun.id) ?? []),
      }))
      .filter((group) => group.hosts.length > 0);
  });
  readonly order: readonly Host[] = $derived(this.groups.flatMap((group) => group.hosts));
  readonly isMap: boolean = $derived.by(
    () => this.#asMap ?? (this.#source.run?.targetsTotal ?? 0) > mapAbove,
  );
  /** The state that it is filtered by, if that is all of the filter. */
  readonly state = $derived(/^state:([a-z_]+)$/.exec(this.filter.trim())?.[1] as RunStatus | undefined);

  /** The hosts whose steps the filter needs: it asks why hosts failed, and not all steps are loaded. */
  readonly needed: readonly Host[] = $derived.by(() =>
    this.#source.hasAllSteps || !needsCauses(this.filter) ? [] : this.#source.hosts.filter(hasFailed),
  );
  /** Whether some of these are not loaded yet, so that hosts may be missing in what is shown. */
  readonly isPartial = $derived(this.needed.some(({ steps }) => steps.length === 0));

  constructor(source: HostSource) {
    this.#source = source;
  }

  /** Filters by a text that nobody typed: of a cause or a link. Rows say why hosts failed, the map doesn't. */
  filterAs(text: string): void {
    this.filter = text;
    if (needsCauses(text)) this.#asMap = false;
  }

  /** Groups as the hosts are now, whatever is shown. */
  get live(): readonly HostGroup[] {
    return this.#live;
  }

  get isEmpty(): boolean {
    return this.#fitting.length === 0;
  }

  /** For an effect: keeps the order from when the pointer or the focus comes until both are gone. */
  keepOrder(): void {
    const { filter } = this;
    if (!this.isPartial) this.#foundFor = filter;
    const keeps = (this.hovered || this.focused) && this.#source.complete && this.#foundFor === filter;
    this.#held = keeps ? untrack(() => [...this.#live]) : undefined;
  }

  showAs(what: 'rows' | 'map'): void {
    this.#asMap = what === 'map';
  }

  /** Filters by a state; if it is filtered by that, by nothing. */
  filterBy(status: RunStatus): void {
    this.filter = this.state === status ? '' : `state:${status}`;
  }

  /** Filters by a cause, as rows, since these say what happened; if it is filtered by that, by nothing. */
  filterByCause({ filter }: Pick<Cause, 'filter'>): void {
    this.filterAs(this.filter.trim() === filter ? '' : filter);
  }

  isFolded({ status, hosts }: HostGroup): boolean {
    return !(this.#unfolded.get(status) ?? hosts.length <= foldAbove);
  }

  fold(status: RunStatus): void {
    const group = this.groups.find((one) => one.status === status);
    if (group !== undefined) this.#unfolded = new Map(this.#unfolded).set(status, this.isFolded(group));
  }

  has(hostId: number | undefined): boolean {
    return this.order.some(({ targetRun }) => targetRun.id === hostId);
  }

  /** Unfolds the group of a host. */
  reveal(hostId: number): void {
    const group = this.groups.find(({ hosts }) => hosts.some(({ targetRun }) => targetRun.id === hostId));
    if (group !== undefined && this.isFolded(group)) this.fold(group.status);
  }

  /** The host that many rows further, or at the end of the list. */
  beside(hostId: number | undefined, by: number): Host | undefined {
    const at = this.order.findIndex((one) => one.targetRun.id === hostId);
    return this.order[Math.max(0, Math.min(this.order.length - 1, at + by))];
  }

  /** The next host that needs somebody, from the first again after the last. */
  nextInNeed(hostId: number | undefined): Host | undefined {
    const needy = this.order.filter(({ targetRun }) =>
      ['unknown', 'held', 'failed', 'timed_out'].includes(targetRun.status),
    );
    const at = needy.findIndex((one) => one.targetRun.id === hostId);
    return needy[(at + 1) % Math.max(1, needy.length)];
  }
}
