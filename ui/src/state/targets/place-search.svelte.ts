// Finds what a right can be granted on or asked about: by a part of its name, or a run by its number.
import type { PlaceKind, SegmentQuery } from '@opsconductor/protocol';
import { findSegments } from '../../api/agents/segments.ts';
import { ApiError } from '../../api/client.ts';
import { listCategories } from '../../api/jobs/categories.ts';
import { listJobs } from '../../api/jobs/jobs.ts';
import { listTargetGroups } from '../../api/targets/target-groups.ts';
import { listTargets } from '../../api/targets/targets.ts';

export interface FoundPlace {
  kind: PlaceKind;
  id: number;
  name: string;
}
interface Named {
  id: number;
  name: string;
}

/** Results shown per kind; someone who finds too many types more. */
const perKind = 8;

export class PlaceSearch {
  found = $state.raw<readonly FoundPlace[]>();
  error = $state.raw<ApiError>();
  readonly #permission: () => SegmentQuery['permission'];
  #current: AbortController | undefined;
  /** Short lists that the server can't search; read once. */
  readonly #lists = new Map<PlaceKind, Promise<Named[]>>();

  /** Finds only segments on which the user holds the permission, if there is one. */
  constructor(permission: () => SegmentQuery['permission'] = () => undefined) {
    this.#permission = permission;
  }

  /** Searches, and cancels any search under way. */
  async search(text: string, kinds: readonly PlaceKind[]): Promise<void> {
    this.#current?.abort();
    const current = new AbortController();
    this.#current = current;
    const wanted = text.trim();
    try {
      const lists = await Promise.all(kinds.map((kind) => this.#find(kind, wanted, current.signal)));
      if (current.signal.aborted) return;
      this.found = lists.flat();
      this.error = undefined;
    } catch (error) {
      if (current.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      this.error = error;
    }
  }

  stop(): void {
    this.#current?.abort();
  }

  async #find(kind: PlaceKind, text: string, signal: AbortSignal): Promise<FoundPlace[]> {
    const named = await this.#named(kind, text, signal);
    return named.slice(0, perKind).map(({ id, name }) => ({ kind, id, name }));
  }

  async #named(kind: PlaceKind, text: string, signal: AbortSignal): Promise<Named[]> {
    const search = text === '' ? undefined : text;
    switch (kind) {
      case 'category':
        return matching(await this.#whole(kind, () => listCategories()), text);
      case 'segment':
        return (await findSegments({ search, permission: this.#permission(), limit: perKind }, signal)).items;
      case 'target_group':
        return (await listTargetGroups({ search, limit: perKind }, signal)).items;
      case 'job':
        return (await listJobs({ search, limit: perKind }, signal)).items;
      case 'target':
        return (await listTargets({ search, limit: perKind }, signal)).items;
      case 'run':
        return runOf(text);
    }
  }

  #whole(kind: PlaceKind, read: () => Promise<Named[]>): Promise<Named[]> {
    const known = this.#lists.get(kind);
    if (known !== undefined) return known;
    const reading = read();
    this.#lists.set(kind, reading);
    // Forget a list that failed, so that the next search reads it again. This search gets the error.
    reading.catch(() => this.#lists.delete(kind));
    return reading;
  }
}

function matching(all: readonly Named[], text: string): Named[] {
  const wanted = text.toLowerCase();
  return all.filter(({ name }) => name.toLowerCase().includes(wanted));
}

/** Returns a run by its number. Whether it exists, the server says when asked about it. */
function runOf(text: string): Named[] {
  const number = /^(?:run )?#?([1-9][0-9]{0,14})$/.exec(text)?.[1];
  return number === undefined ? [] : [{ id: Number(number), name: number }];
}
