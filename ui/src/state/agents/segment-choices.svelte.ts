// The segments that one can choose from: all of them while they fit a page, otherwise they are searched.
import type { Segment, SegmentQuery } from '@opsconductor/protocol';
import { fetchSegment, findSegments } from '../../api/agents/segments.ts';
import { ApiError } from '../../api/client.ts';
import type { Page } from '../../api/page.ts';
import { Query } from '../query.svelte.ts';
import { session } from '../session.svelte.ts';
import { segmentScopes } from '../targets/target-scopes.ts';

/** Up to this many are put into a select. */
const maxListed = 200;

export class SegmentChoices {
  /** Only segments on which the user holds it. */
  readonly permission: SegmentQuery['permission'];
  readonly #query: Query<Page<Segment>>;
  /** Segments that were looked at by id. */
  #others = $state.raw<ReadonlyMap<number, Segment>>(new Map());

  constructor(permission?: SegmentQuery['permission']) {
    this.permission = permission;
    this.#query = new Query((signal) => findSegments({ permission, limit: maxListed }, signal));
  }

  /** The first segments by name; all of them unless `many`. */
  readonly items = $derived.by(() => this.#query.data?.items.filter((one) => this.#may(one)));
  /** Whether there are more than a select should have. */
  readonly many = $derived.by(() => {
    const page = this.#query.data;
    return page !== undefined && (page.nextCursor !== null || (this.items?.length ?? 0) > maxListed);
  });
  get trouble() {
    return this.#query.trouble;
  }
  get error() {
    return this.#query.error;
  }
  get slow(): boolean {
    return this.#query.slow;
  }

  start(everyMs?: number): () => void {
    return this.#query.start(everyMs);
  }

  load(): Promise<void> {
    return this.#query.load();
  }

  /** Returns a segment by id if it is among the first or was looked at. */
  of(id: number | null | undefined): Segment | undefined {
    if (id === null || id === undefined) return undefined;
    return this.items?.find((one) => one.id === id) ?? this.#others.get(id);
  }

  /** Reads a segment that is not among the first, for `of`. One that can't be read stays unknown. */
  async look(id: number): Promise<void> {
    if (this.of(id) !== undefined) return;
    try {
      const segment = await fetchSegment(id);
      if (this.#may(segment)) this.#others = new Map([...this.#others, [id, segment]]);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }

  /** Servers of the previous version don't narrow by the permission. */
  #may({ id }: Segment): boolean {
    return this.permission === undefined || session.mayOn(this.permission, segmentScopes(id));
  }
}
