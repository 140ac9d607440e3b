// Finds text and the first error in whichever output is shown, and goes there when the reader asks for it.
import { untrack } from 'svelte';
import { count } from '../../../format/quantity.ts';
import type { StreamFilter } from '../../../output/line-index.ts';
import type { LineStore } from '../../../output/line-store.ts';
import type { LineRange } from '../../../paths.ts';
import { OutputSearch } from '../../../state/runs/output-search.svelte.ts';
import type { OutputView } from '../../../state/runs/output-view.svelte.ts';

/** Typing rests for this long before it is searched for. */
const restMs = 150;
const extendEveryMs = 500;

/** The properties are read when they are needed, so getters make them reactive one by one. */
export interface ShownOutput {
  readonly view: OutputView;
  /** Lines that the URL selects. */
  readonly lines: LineRange | undefined;
}

export class OutputFinder {
  /** What is typed. It applies to every output that is shown from then on. */
  text = $state('');
  seeking = $state(false);
  /** The output in which a search for an error found none, and how far it had come. */
  #faultless = $state.raw<{ store: LineStore; lines: number }>();
  #searched: OutputSearch | undefined;
  readonly #shown: ShownOutput;
  readonly #goTo: (row: number) => void;

  constructor(shown: ShownOutput, goTo: (row: number) => void) {
    this.#shown = shown;
    this.#goTo = goTo;
  }

  readonly #view = $derived.by(() => this.#shown.view);
  readonly search = $derived.by(() => new OutputSearch(this.#view));
  readonly noError = $derived.by(() => {
    const view = this.#view;
    void view.version;
    return this.#faultless?.store === view.store && this.#faultless.lines === view.lineCount;
  });
  /** How many matches there are, in words. */
  readonly found = $derived.by(() => {
    const { query, total, searching, current, capped } = this.search;
    if (query === '') return '';
    if (total === 0) return searching ? 'searching' : 'none';
    const all = `${count(total)}${searching || capped ? '+' : ''}`;
    return current < 0 ? `${all} found` : `${count(current + 1)} of ${all}`;
  });

  /** Searches as text is typed and output comes; for the initialization of a component. */
  follow(): void {
    $effect(() => this.#searchTyped());
    $effect(() => this.#searchOn());
  }

  /** Searches for what is typed. In another output, it does so without scrolling to a match. */
  #searchTyped(): (() => void) | undefined {
    const [wanted, within] = [this.text, this.search];
    if (this.#searched !== within) {
      this.#searched = within;
      if (wanted !== '') void untrack(() => within.search(wanted));
      return undefined;
    }
    const timer = setTimeout(() => void this.#run(wanted), restMs);
    return () => clearTimeout(timer);
  }

  /** Searches on, without hurry, as the output grows. */
  #searchOn(): (() => void) | undefined {
    const { search } = this;
    void this.#view.version;
    if (search.query === '' || search.searching) return undefined;
    const timer = setTimeout(() => void search.extend(), extendEveryMs);
    return () => clearTimeout(timer);
  }

  step(by: 1 | -1): void {
    this.search.step(by);
    this.#show();
  }

  async firstError(): Promise<void> {
    if (this.seeking) return;
    this.seeking = true;
    const { store, lineCount } = this.#view;
    try {
      const row = await this.search.firstError();
      // The user has changed to another output in the meantime.
      if (store !== this.#view.store) return;
      if (row === undefined) this.#faultless = { store, lines: lineCount };
      else this.#goTo(row);
    } finally {
      this.seeking = false;
    }
  }

  setFilter(filter: StreamFilter): void {
    this.#view.setFilter(filter);
    const { search } = this;
    if (search.query !== '') void search.search(search.query);
  }

  async #run(wanted: string): Promise<void> {
    const within = this.search;
    if (within.query === wanted) return;
    const { view, lines } = this.#shown;
    const from = lines === undefined ? 0 : view.rowOfLine(lines.from);
    await within.search(wanted);
    // The user has changed to another output or to another search.
    if (within !== this.search || within.query !== wanted || within.current >= 0) return;
    within.startAt(from);
    this.#show();
  }

  /** Scrolls once, when the reader asks for it: not again as more matches are found. */
  #show(): void {
    const { place } = this.search;
    if (place !== undefined) this.#goTo(place.row);
  }
}
