// Which host of a run is shown, and which of its steps: those in the address; before anyone selects one, those that are
// most likely wanted.
import { untrack } from 'svelte';
import { MediaQuery } from 'svelte/reactivity';
import { router } from '../../../state/router.svelte.ts';
import type { Host } from '../../../state/runs/run-hosts.svelte.ts';
import type { RunView } from '../../../state/runs/run-view.svelte.ts';
import { firstToShow, stepInView } from './host-groups.ts';
import type { HostList } from './host-list.svelte.ts';
import { placeInRun } from './run-filter-place.svelte.ts';

/**
 * Don't switch to each step of a few milliseconds: nobody would see them, and the server would be asked for the output
 * of all.
 */
const shortestStayMs = 400;

export class ShownStep {
  readonly #view: RunView;
  readonly #list: HostList;
  readonly #small = new MediaQuery('(max-width: 760px)');
  /** The host that is shown while none is in the address. */
  #kept = $state<number>();
  /** Whether somebody has selected a host. */
  isChosen = $state(false);
  readonly hostId = $derived(router.queryId('host') ?? this.#kept);
  readonly host: Host | undefined = $derived.by(() => this.#view.host(this.hostId));
  /** In a large run, the steps of a host are loaded only when it is looked at. */
  readonly isRead = $derived.by(
    () => this.host !== undefined && (this.#view.hasAllSteps || this.host.steps.length > 0),
  );
  readonly #picked = $derived(router.queryId('step'));
  #shown = $state.raw<{ host: number; step: number }>();
  /** Id of the step that the reader stays with. */
  #staysWith = $state<number>();
  #movedAt = 0;
  readonly number = $derived(
    this.#picked ?? (this.#shown !== undefined && this.#shown.host === this.hostId ? this.#shown.step : 1),
  );
  readonly step = $derived(this.host?.steps[this.number - 1]);

  /** For the initialization of a component. */
  constructor(view: RunView, list: HostList) {
    this.#view = view;
    this.#list = list;
    $effect(() => this.#keepHost());
    // Unfold the group of a selected host, once: if the user folds it afterwards, it stays folded.
    const isThere = $derived(list.has(this.hostId));
    $effect(() => {
      const { hostId } = this;
      if (hostId !== undefined && isThere) untrack(() => list.reveal(hostId));
    });
    $effect(() => this.#followStep());
  }

  select(host: number, step?: number): void {
    this.#staysWith = undefined;
    const to = placeInRun(this.#view.id, { host, step });
    // On a small screen the output is a page of its own, from which the way back leads to the hosts.
    if (this.#small.current && router.queryId('host') === undefined) router.navigate(to);
    else router.replace(to);
  }

  /** Makes the host that is shown one of those that the filter leaves. */
  showFirst(): void {
    const first = this.#list.order[0]?.targetRun.id;
    if (first === undefined || this.#list.has(this.hostId)) return;
    if (router.queryId('host') === undefined) this.#kept = first;
    else this.select(first);
  }

  /** Stays with a step when the next one begins. */
  stayWith(stepId: number): void {
    this.#staysWith = stepId;
  }

  /** Follows the host again, if it is this step that the reader stayed with. */
  followAgain(stepId: number): void {
    if (this.#staysWith === stepId) this.#staysWith = undefined;
  }

  #keepHost(): void {
    const chosen = router.queryId('host');
    if (chosen !== undefined) {
      this.#kept = chosen;
      this.isChosen = true;
    } else if (this.#kept === undefined && this.#view.complete)
      this.#kept = firstToShow(this.#list.live)?.targetRun.id;
  }

  /** Shows the step that runs, unless one is selected or the reader stays with another. */
  #followStep(): (() => void) | undefined {
    const { host } = this;
    if (host === undefined || !this.isRead) return undefined;
    const picked = this.#picked;
    const id = host.targetRun.id;
    const known = this.#shown?.host === id ? this.#shown.step : undefined;
    const stays = known !== undefined && this.#staysWith === host.steps[known - 1]?.id;
    const wanted = stepInView(host, { picked, shown: known, stays });
    if (wanted === known) return undefined;
    const move = () => {
      this.#movedAt = performance.now();
      this.#shown = { host: id, step: wanted };
    };
    const waitMs =
      known === undefined || picked !== undefined ? 0 : this.#movedAt + shortestStayMs - performance.now();
    if (waitMs <= 0) {
      move();
      return undefined;
    }
    const timer = setTimeout(move, waitMs);
    return () => clearTimeout(timer);
  }
}
