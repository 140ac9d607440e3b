// What only the server knows of a definition: its category, its credentials, the site rules. Asked once nothing was typed
// for a moment; of what is wrong in itself, the server tells what of that can be told.
import type { DefinitionProblem, JobDefinition, ValidateJobReply } from '@opsconductor/protocol';
import { ApiError } from '../../api/client.ts';

const quietMs = 500;
/** A server that could not be asked is asked again so much later. */
const againMs = 3_000;

export interface Asked {
  /** As it was sent, so that what comes back is of this text. */
  text: string;
  definition: JobDefinition;
  note: string;
}

type Ask = (asked: Asked, signal: AbortSignal) => Promise<Pick<ValidateJobReply, 'problems'>>;

export class ServerCheck {
  #problems: readonly DefinitionProblem[] = $state.raw([]);
  #of = $state.raw('');
  readonly #ask: Ask;
  #owner = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(ask: Ask) {
    this.#ask = ask;
  }

  /** The text that the answer is of. */
  get text(): string {
    return this.#of;
  }
  /** Of places in the definition: a category that is not there, a credential that may not be used. */
  readonly places: readonly DefinitionProblem[] = $derived(this.#problems.filter((one) => !isAdvice(one)));
  /** What it breaks of the site rules, and warnings. */
  readonly advice: readonly DefinitionProblem[] = $derived(this.#problems.filter(isAdvice));

  /** Undefined for what can't be read, or needs no look. */
  follow(asked: Asked | undefined): void {
    this.stop();
    if (asked === undefined) this.#problems = [];
    else this.#timer = setTimeout(() => void this.#look(asked), quietMs);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#owner.abort();
    this.#owner = new AbortController();
  }

  async #look(asked: Asked): Promise<void> {
    const { signal } = this.#owner;
    try {
      const { problems } = await this.#ask(asked, signal);
      if (signal.aborted) return;
      this.#problems = problems;
      this.#of = asked.text;
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      if (error.code === 'invalid' || error.code === 'too_large') return;
      // What it would have said it says when it is saved, should it not be back before.
      this.#timer = setTimeout(() => void this.#look(asked), againMs);
    }
  }
}

/** To be told with the save: not of a place that must be mended first. */
function isAdvice({ rule, severity }: DefinitionProblem): boolean {
  return rule !== undefined || severity === 'warning';
}
