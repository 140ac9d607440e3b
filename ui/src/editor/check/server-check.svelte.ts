// Asks the server about what only it knows of a definition: category, credentials, site rules. It asks when typing has
// paused; if the definition itself has mistakes, the server checks as much of it as it can.
import type { DefinitionProblem, JobDefinition, ValidateJobReply } from '@opsconductor/protocol';
import { ApiError } from '../../api/client.ts';

const quietMs = 500;
/** Delay before retrying when the server could not be asked, in ms. */
const againMs = 3_000;

export interface Asked {
  /** The text as it was sent, so that the answer can be matched to it. */
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

  /** The text that the current problems belong to. */
  get text(): string {
    return this.#of;
  }
  /** Problems at places in the definition, such as a missing category or a credential that may not be used. */
  readonly places: readonly DefinitionProblem[] = $derived(this.#problems.filter((one) => !isAdvice(one)));
  /** Broken site rules, and warnings. */
  readonly advice: readonly DefinitionProblem[] = $derived(this.#problems.filter(isAdvice));

  /** `undefined` if the text can't be read or needs no check. */
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
      // Saving runs the same checks, in case the server is not back before.
      this.#timer = setTimeout(() => void this.#look(asked), againMs);
    }
  }
}

/** Shown when saving, as it doesn't name a place that has to be fixed first. */
function isAdvice({ rule, severity }: DefinitionProblem): boolean {
  return rule !== undefined || severity === 'warning';
}
