// Looks up which targets a selection resolves to while someone edits it, a moment after each change.
import type { SelectedTarget, SelectTargetsReply, TargetSelection } from '@opsconductor/protocol';
import { untrack } from 'svelte';
import { ApiError, isPassing } from '../../api/client.ts';
import { pause, pauseMs } from '../../api/pauses.ts';

const restMs = 180;
const pageItems = 200;

export class SelectionLook {
  reply = $state.raw<SelectTargetsReply>();
  error = $state.raw<ApiError>();
  /** Whether reply and error belong to the selection as it is now. */
  settled = $state(true);
  /** Whether the error is about a selector, whose own field shows it. */
  readonly isAboutSelectors = $derived(
    this.error?.details.some(({ path }) => path === 'selector' || path === 'exclude.selector') ?? false,
  );
  /** Whether the last look failed in passing, so that the result isn't known; it is retried. */
  readonly isLost = $derived(this.error !== undefined && isPassing(this.error));
  readonly #read: (selection: TargetSelection, signal: AbortSignal) => Promise<SelectTargetsReply>;
  #followed = '';
  #timer: ReturnType<typeof setTimeout> | undefined;
  #current: AbortController | undefined;

  constructor(read: (selection: TargetSelection, signal: AbortSignal) => Promise<SelectTargetsReply>) {
    this.#read = read;
  }

  follow(selection: TargetSelection | undefined): void {
    const text = JSON.stringify(selection) ?? '';
    if (text === this.#followed) return;
    this.#followed = text;
    untrack(() => {
      this.stop();
      if (selection === undefined) {
        this.reply = undefined;
        this.error = undefined;
        this.settled = true;
        return;
      }
      this.settled = false;
      this.#timer = setTimeout(() => void this.#look(selection), restMs);
    });
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#current?.abort();
  }

  async #look(selection: TargetSelection): Promise<void> {
    const current = new AbortController();
    this.#current = current;
    for (let failures = 0; !current.signal.aborted; failures += 1) {
      try {
        const reply = await this.#read(selection, current.signal);
        if (current.signal.aborted) return;
        this.reply = reply;
        this.error = undefined;
        this.settled = true;
        return;
      } catch (error) {
        if (current.signal.aborted) return;
        if (!(error instanceof ApiError)) throw error;
        error.asksAgain = isPassing(error);
        this.reply = undefined;
        this.error = error;
        this.settled = true;
        if (!error.asksAgain) return;
        await pause(pauseMs(failures), current.signal);
      }
    }
  }
}

/** Reads all selected targets that can't be run on. */
export async function readBlocked(
  read: (query: { limit: number; cursor?: string }) => Promise<SelectTargetsReply>,
): Promise<SelectedTarget[]> {
  const blocked: SelectedTarget[] = [];
  let cursor: string | undefined;
  let wanted: number;
  do {
    const page = await read({ limit: pageItems, ...(cursor === undefined ? {} : { cursor }) });
    wanted = page.total - page.runnable;
    blocked.push(...page.items.filter(({ problem }) => problem !== null));
    cursor = page.nextCursor ?? undefined;
  } while (cursor !== undefined && blocked.length < wanted);
  return blocked;
}
