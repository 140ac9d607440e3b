// A run while someone puts it together, apart from its targets: version, values and options.
import type { JobDefinition, StartRunRequest, Strategy, TargetSelection } from '@opsconductor/protocol';
import { ParameterValues } from '../parameters/parameter-values.svelte.ts';

/** Number fields as typed; empty means what the job says. */
export type OptionName = 'priority' | 'timeout' | 'start_within' | 'max_parallel' | 'max_failures';

export class RunDraft {
  readonly form = new ParameterValues();
  /** Number, tag or channel; undefined for the current version. */
  version: string | undefined = $state();
  /** Definition of the selected version, once it is loaded. */
  definition: JobDefinition | undefined = $state.raw();
  options: Readonly<Partial<Record<OptionName, string>>> = $state.raw({});
  reason = $state('');

  readonly wrongOptions: readonly OptionName[] = $derived(
    (Object.keys(this.options) as OptionName[]).filter((name) => !isOption(name, this.option(name))),
  );
  readonly isRight = $derived(
    this.definition !== undefined && this.form.isRight && this.wrongOptions.length === 0,
  );

  /** Takes over the definition of a version; values stay if their parameter still exists. */
  take(definition: JobDefinition): void {
    this.definition = definition;
    this.form.set(definition.parameters ?? {}, definition.rules ?? []);
  }

  option(name: OptionName): string {
    return this.options[name]?.trim() ?? '';
  }

  setOption(name: OptionName, text: string): void {
    const { [name]: _, ...others } = this.options;
    this.options = text.trim() === '' ? others : { ...others, [name]: text };
  }

  /** Returns the request without secrets, which are sealed only at the moment of the start. */
  request(selection: TargetSelection): StartRunRequest {
    const strategy = this.#strategy();
    const { version, reason } = this;
    return {
      ...selection,
      ...(version === undefined ? {} : { version: /^\d+$/.test(version) ? Number(version) : version }),
      ...(Object.keys(this.form.values).length === 0 ? {} : { parameters: { ...this.form.values } }),
      ...this.#number('priority'),
      ...this.#number('timeout'),
      ...this.#number('start_within'),
      ...(strategy === undefined ? {} : { strategy }),
      ...(reason.trim() === '' ? {} : { reason: reason.trim() }),
    };
  }

  #number(name: 'priority' | 'timeout' | 'start_within'): Partial<Record<typeof name, number>> {
    return this.option(name) === '' ? {} : { [name]: Number(this.option(name)) };
  }

  /** What is set here overrides single fields of the job's strategy; its other fields stay. */
  #strategy(): Strategy | undefined {
    const [parallel, failures] = [this.option('max_parallel'), this.option('max_failures')];
    if (parallel === '' && failures === '') return undefined;
    return {
      ...this.definition?.strategy,
      ...(parallel === '' ? {} : { max_parallel: Number(parallel) }),
      ...(failures === '' ? {} : { max_failures: failures.endsWith('%') ? failures : Number(failures) }),
    };
  }
}

function isOption(name: OptionName, text: string): boolean {
  if (text === '') return true;
  if (name === 'max_failures') return /^(\d{1,6}|(100|[1-9]?\d)%)$/.test(text);
  if (name === 'priority') return /^-?\d{1,3}$/.test(text) && Math.abs(Number(text)) <= 100;
  return /^[1-9]\d{0,6}$/.test(text);
}
