// Searches the whole stored output, not only what is in memory, in slices short enough to keep the page responsive.
import { countMatches, looksLikeError, shownText } from '../../output/find.ts';
import type { OutputView } from './output-view.svelte.ts';

export interface FoundRow {
  row: number;
  matches: number;
}

const maxMatches = 50_000;
const sliceMs = 12;

export class OutputSearch {
  query = $state('');
  found = $state.raw<FoundRow[]>([]);
  total = $state(0);
  /** Index of the current match among all matches; -1 if there is none. */
  current = $state(-1);
  searching = $state(false);
  /** Whether there are more matches than are listed. */
  capped = $state(false);
  readonly #view: OutputView;
  #generation = 0;
  #nextEntry = 0;
  /** The output that was searched so far. A new attempt of a step has a new one. */
  #store: OutputView['store'] | undefined;

  constructor(view: OutputView) {
    this.#view = view;
  }

  /** Row of the current match, and which match in that row it is. */
  readonly place = $derived.by(() => {
    let left = this.current;
    if (left < 0) return undefined;
    for (const { row, matches } of this.found) {
      if (left < matches) return { row, nth: left };
      left -= matches;
    }
    return undefined;
  });

  async search(query: string): Promise<void> {
    this.query = query;
    this.#begin();
    await this.extend();
  }

  /** Searches the output that came since. */
  async extend(): Promise<void> {
    if (this.query === '' || this.searching) return;
    if (this.#store !== this.#view.store) this.#begin();
    const generation = this.#generation;
    this.searching = true;
    try {
      await this.#scan(generation);
    } finally {
      this.searching = false;
    }
    if (generation !== this.#generation || this.#store !== this.#view.store) await this.extend();
  }

  #begin() {
    this.#generation += 1;
    this.#store = this.#view.store;
    this.found = [];
    this.total = 0;
    this.current = -1;
    this.capped = false;
    this.#nextEntry = 0;
  }

  step(by: 1 | -1): void {
    if (this.total === 0) return;
    this.current =
      this.current < 0 ? (by > 0 ? 0 : this.total - 1) : (this.current + by + this.total) % this.total;
  }

  /** Makes the first match at or after a row the current one. */
  startAt(row: number): void {
    let before = 0;
    for (const found of this.found) {
      if (found.row >= row) break;
      before += found.matches;
    }
    if (this.total > 0) this.current = Math.min(before, this.total - 1);
  }

  /** Returns the row of the first line that looks like an error, else of the first line on stderr, if any. */
  async firstError(): Promise<number | undefined> {
    const { store, filter } = this.#view;
    const { index } = store;
    let sliceEnd = performance.now() + sliceMs;
    for (let entry = 0; entry < index.entryCount; entry += 1) {
      const rows = index.entry(entry).kind === 'marker' ? 0 : index.entry(entry).rows;
      if (rows > 0 && !(await this.#bring(entry))) return undefined;
      for (let line = 0; line < rows; line += 1) {
        const text = store.text(entry, line);
        if (text !== undefined && looksLikeError(shownText(text))) {
          return index.rowOfLine(filter, index.lineNumber({ entry, line }));
        }
      }
      if (performance.now() > sliceEnd) {
        await breath();
        sliceEnd = performance.now() + sliceMs;
      }
    }
    const first = index.firstOf('stderr');
    return first === undefined
      ? undefined
      : index.rowOfLine(filter, index.lineNumber({ entry: first, line: 0 }));
  }

  /** Makes an entry's text available; returns false if the reader has left the output meanwhile. */
  async #bring(entry: number): Promise<boolean> {
    try {
      await this.#view.bring(entry);
    } catch (error) {
      if (!this.#view.isLeft) throw error;
    }
    return !this.#view.isLeft;
  }

  async #scan(generation: number): Promise<void> {
    const { store, filter } = this.#view;
    const { index } = store;
    const found = [...this.found];
    let { total } = this;
    let sliceEnd = performance.now() + sliceMs;
    for (; this.#nextEntry < index.entryCount; this.#nextEntry += 1) {
      const at = this.#nextEntry;
      const entry = index.entry(at);
      const wanted = entry.kind !== 'marker' && (filter === 'both' || filter === entry.kind);
      if (!wanted || entry.rows === 0) continue;
      if (!(await this.#bring(at)) || generation !== this.#generation) return;
      const firstRow = index.rowsBefore(filter, at);
      for (const line of store.rowsWith(at, this.query) ?? []) {
        const text = store.text(at, line);
        const matches = text === undefined ? 0 : countMatches(shownText(text), this.query);
        if (matches === 0) continue;
        found.push({ row: firstRow + line, matches });
        total += matches;
      }
      if (total >= maxMatches) {
        this.capped = true;
        this.#nextEntry = index.entryCount;
        break;
      }
      if (performance.now() > sliceEnd) {
        this.total = total;
        await breath();
        if (generation !== this.#generation) return;
        sliceEnd = performance.now() + sliceMs;
      }
    }
    this.found = found;
    this.total = total;
  }
}

function breath(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
