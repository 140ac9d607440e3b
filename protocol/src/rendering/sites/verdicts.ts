// What an analysis finds for each placeholder, whatever the language: the form in which its value may stand, or why it may
// not. A place that nobody has allowed is refused, and so is a value that has no text of its own.
import type { ParameterType } from '../../api/jobs/parameters.ts';
import type { Analysis, Hole, Refusal, Site } from './sites.ts';

export interface Reason {
  /** Continues `${{ parameters.x }}` or `$name, which holds the value of ${{ parameters.x }},`. */
  why: string;
  fix: (label: string) => string;
}

export class Verdicts {
  readonly #holes: ReadonlyMap<number, Hole>;
  readonly #always: Record<'structure' | 'elsewhere', Reason>;
  readonly #sites = new Map<number, Site>();
  /** Each place is refused once, for the first reason. */
  readonly #refusals = new Map<string, Refusal>();

  /** @param always Why a list or an object is refused, and why a place that no rule allows. */
  constructor(holes: readonly Hole[], always: Record<'structure' | 'elsewhere', Reason>) {
    this.#holes = new Map(holes.map((hole) => [hole.at, hole]));
    this.#always = always;
  }

  get hasHoles(): boolean {
    return this.#holes.size > 0;
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

  /** Whether the value at this place is a number or a boolean, whose text means nothing to any shell. */
  isInert(at: number): boolean {
    const hole = this.#holes.get(at);
    return hole !== undefined && isInert(hole.type);
  }

  siteAt(at: number): Site | undefined {
    return this.#sites.get(at);
  }

  /** A later site of a place replaces an earlier one. */
  accept(at: number, site: Site): void {
    this.#sites.set(at, site);
  }

  refuseHole(at: number, { why, fix }: Reason): void {
    const label = this.#holes.get(at)?.label ?? 'The placeholder';
    this.#refuse(`hole ${at}`, { at, message: `${label} ${why}`, fix: fix(label) });
  }

  /**
   * Refuses a variable that holds a value.
   *
   * @param subject Begins the message: the variable, and whose value it holds.
   * @param shown The variable as an author writes it.
   */
  refuseVariable(at: number, { subject, shown }: { subject: string; shown: string }, reason: Reason): void {
    this.refuseText({ at, message: `${subject} ${reason.why}`, fix: reason.fix(shown) });
  }

  /** Whether a place where no placeholder stands is refused. */
  isRefused(at: number): boolean {
    return this.#refusals.has(`text ${at}`);
  }

  /** Refuses a place where no placeholder stands. */
  refuseText(refusal: Refusal): void {
    this.#refuse(`text ${refusal.at}`, refusal);
  }

  #refuse(place: string, refusal: Refusal): void {
    if (!this.#refusals.has(place)) this.#refusals.set(place, refusal);
  }

  conclude(): Analysis {
    const { structure, elsewhere } = this.#always;
    for (const [at, { type }] of this.#holes) {
      if (type === 'array' || type === 'object') this.refuseHole(at, structure);
      else if (!this.#sites.has(at)) this.refuseHole(at, elsewhere);
      if (this.#refusals.has(`hole ${at}`)) this.#sites.delete(at);
    }
    return { sites: this.#sites, refusals: [...this.#refusals.values()].sort((a, b) => a.at - b.at) };
  }
}

function isInert(type: ParameterType): boolean {
  return type === 'integer' || type === 'number' || type === 'boolean';
}
