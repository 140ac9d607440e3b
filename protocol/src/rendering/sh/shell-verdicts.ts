// What the analysis of a shell script finds, in the words that authors of such scripts know.
import type { Hole } from '../sites/sites.ts';
import { type Reason, Verdicts } from '../sites/verdicts.ts';
import type { Interpreter } from './commands/interpreters.ts';
import { anyVariable } from './reading/syntax.ts';
import { type ReasonName, reasons } from './refusals.ts';
import type { Source } from './sources.ts';

export class ShellVerdicts extends Verdicts {
  readonly #valueIn: (variable: string) => string | undefined;
  /** Set while a text is analyzed that was parsed separately: its own offsets are meaningless. */
  #at: number | undefined;

  /** @param valueIn Says which placeholder's value a variable holds. */
  constructor(holes: readonly Hole[], valueIn: (variable: string) => string | undefined) {
    super(holes, reasons);
    this.#valueIn = valueIn;
  }

  refuse(source: Source, reason: ReasonName): void {
    this.#refuseFor(source, reasons[reason]);
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
      this.#refuseFor(source, {
        why: `${input ? 'goes into the input of' : 'is an argument of'} ${name}, which ${why}`,
        fix: () => fix ?? 'Set it in the environment of the step and read it there by its name.',
      });
    }
  }

  /** Analyzes a text that was parsed separately: what is refused there is told of at its place in the script. */
  within(at: number, analyze: () => void): void {
    const outer = this.#at;
    this.#at ??= at;
    analyze();
    this.#at = outer;
  }

  #refuseFor(source: Source, reason: Reason): void {
    if (source.kind === 'hole') {
      this.refuseHole(source.at, reason);
      return;
    }
    const { name } = source;
    const at = this.#at ?? source.at;
    // Places deep in a script are refused for each command around them.
    if (this.isRefused(at)) return;
    const subject = `${holderText(name)} the value of ${this.#valueIn(name) ?? ''},`;
    const shown = name !== anyVariable && !/[>()]/.test(name) ? `$${name}` : '$name';
    this.refuseVariable(at, { subject, shown }, reason);
  }
}

function holderText(name: string): string {
  if (name === anyVariable) return 'A variable whose name is only known when the script runs, which may hold';
  if (name.endsWith('()')) return `The function ${name.slice(0, -2)}, which prints`;
  return name.startsWith('>') ? `The file ${name.slice(1)}, which holds` : `$${name}, which holds`;
}
