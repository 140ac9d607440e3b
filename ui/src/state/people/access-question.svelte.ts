// The question "may this user do this there?", and which kinds of things it can be asked about.
import {
  type AccessQuery,
  type grantablePermissions,
  type PlaceKind,
  permissionReach,
} from '@opsconductor/protocol';
import type { FoundPlace } from '../targets/place-search.svelte.ts';

type Grantable = (typeof grantablePermissions)[number];

const placeField: Record<PlaceKind, keyof AccessQuery> = {
  job: 'job',
  category: 'category',
  run: 'run',
  target: 'target',
  segment: 'segment',
  target_group: 'targetGroup',
};

export class AccessQuestion {
  permission = $state<Grantable>('run');
  job = $state.raw<FoundPlace>();
  target = $state.raw<FoundPlace>();

  readonly #reach: readonly string[] = $derived(permissionReach[this.permission]);
  /** Empty if the permission doesn't apply to jobs. */
  readonly jobKinds: readonly PlaceKind[] = $derived(
    this.#reach.includes('jobs') ? ['job', 'category', 'run'] : [],
  );
  /** Empty if the permission applies neither to targets nor to segments. */
  readonly targetKinds: readonly PlaceKind[] = $derived(
    this.#reach.includes('targets')
      ? ['target', 'segment', 'target_group']
      : this.#reach.includes('segments')
        ? ['segment']
        : [],
  );

  /** Leaves out what was picked for another permission and doesn't apply to this one. */
  readonly query: AccessQuery = $derived.by(() => {
    const places = [
      this.job !== undefined && this.jobKinds.includes(this.job.kind) ? this.job : undefined,
      this.target !== undefined && this.targetKinds.includes(this.target.kind) ? this.target : undefined,
    ];
    const fields = places.flatMap((place) =>
      place === undefined ? [] : [[placeField[place.kind], place.id]],
    );
    return { permission: this.permission, ...Object.fromEntries(fields) };
  });
}
