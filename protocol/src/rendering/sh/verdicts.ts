// What an analysis has found for each placeholder: the form in which its value may stand, or why it may not.
import type { ParameterType } from '../../api/jobs/parameters.ts';
import { concludeAnalysis } from '../sites/conclude-analysis.ts';
import type { Analysis, Hole, Refusal, Site } from '../sites/sites.ts';
import type { Interpreter } from './commands/interpreters.ts';
import { anyVariable } from './reading/syntax.ts';
import { type ReasonName, reasons } from './refusals.ts';
import type { Source } from './sources.ts';

export class Verdicts {
  readonly #holes: ReadonlyMap<number, Hole>;
  readonly #valueIn: (variable: string) => string | undefined;
  readonly #sites = new Map<number, Site>();
  readonly #refusals = new Map<string, Refusal>();
  /** Set while a text is analyzed that was parsed separately: its own offsets are meaningless. */
  #at: number | undefined;

  /** @param valueIn Says which placeholder's value a variable holds. */
  constructor(holes: readonly Hole[], valueIn: (variable: string) => string | undefined) {
    this.#holes = new Map(holes.map((hole) => [hole.at, hole]));
    this.#valueIn = valueIn;
  }

  /** The placeholder at this place, if its value can do harm. */
  labelAt(at: number): string | undefined {
    const hole = this.#holes.get(at);
    return hole === undefined || isInert(hole.type) ? undefined : hole.label;
  }

  isNumber(at: number): boolean {
    const type = this.#holes.get(at)?.type;
    return type === 'integer' || type === 'number';
  }

  accept(hole: { at: number }, site: Site): void {
    this.#sites.set(hole.at, site);
  }

  refuse(source: Source, reason: ReasonName): void {
    const { why, fix } = reasons[reason];
    this.#refuseFor(source, why, fix);
  }

  #refuseFor(source: Source, why: string, fix: (label: string) => string): void {
    const at = this.#at !== undefined && source.kind === 'variable' ? this.#at : source.at;
    const key = source.kind === 'hole' ? `hole ${at}` : `variable ${at}`;
    if (this.#refusals.has(key)) return;
    if (source.kind === 'hole') {
      const label = this.#holes.get(at)?.label ?? 'The placeholder';
      this.#refusals.set(key, { at, message: `${label} ${why}`, fix: fix(label) });
      return;
    }
    const label = this.#valueIn(source.name) ?? '';
    this.#refusals.set(key, {
      at,
      message: `${holderText(source.name)} the value of ${label}, ${why}`,
      fix: fix(source.name !== anyVariable && !source.name.startsWith('>') ? `$${source.name}` : '$name'),
    });
  }

  refuseAll(sources: Iterable<Source>, reason: ReasonName): void {
    for (const source of sources) this.refuse(source, reason);
  }

  refuseInterpreter(
    sources: Iterable<Source>,
    name: string,
    { why, fix }: Pick<Interpreter, 'why' | 'fix'>,
    input: boolean,
  ): void {
    for (const source of sources) {
      this.#refuseFor(
        source,
        `${input ? 'goes into the input of' : 'is an argument of'} ${name}, which ${why}`,
        () => fix ?? 'Set it in the environment of the step and read it there by its name.',
      );
    }
  }

  /** Analyzes a text that was parsed separately: what is refused there is told of at its place in the script. */
  within(at: number, analyze: () => void): void {
    const outer = this.#at;
    this.#at ??= at;
    analyze();
    this.#at = outer;
  }

  conclude(): Analysis {
    return concludeAnalysis({
      holes: this.#holes,
      sites: this.#sites,
      refusals: this.#refusals,
      keyOf: (at) => `hole ${at}`,
      refuse: (at, reason) => this.refuse({ kind: 'hole', at }, reason),
    });
  }
}

function holderText(name: string): string {
  if (name === anyVariable) return 'A variable whose name is only known when the script runs, which may hold';
  return name.startsWith('>') ? `The file ${name.slice(1)}, which holds` : `$${name}, which holds`;
}

function isInert(type: ParameterType): boolean {
  return type === 'integer' || type === 'number' || type === 'boolean';
}
