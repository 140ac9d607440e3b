// What the analysis of a PowerShell script finds, in the words that authors of such scripts know.
import type { Hole, Site } from '../sites/sites.ts';
import { type Reason, Verdicts } from '../sites/verdicts.ts';
import { Holders, type Source } from './holders.ts';
import type { Item } from './read-items.ts';
import { type ReasonName, reasons } from './reasons.ts';

export class PowershellVerdicts extends Verdicts {
  readonly holders: Holders;

  constructor(items: readonly Item[], holes: readonly Hole[], environment: ReadonlyMap<string, string>) {
    super(holes, reasons);
    this.holders = new Holders(items, (at) => this.labelAt(at), environment);
  }

  /** Accepts a placeholder, and keeps what is known of the program that it is an argument of. */
  acceptAs(as: Site['as'], at: number, mayBeOption: boolean): void {
    const site = this.siteAt(at);
    this.accept(at, { ...site, as, mayBeOption: mayBeOption && site?.toProgram !== undefined });
  }

  refuse(source: Source, reason: ReasonName): void {
    this.refuseFor(source, reasons[reason]);
  }

  refuseFor(source: Source, reason: Reason): void {
    if (source.kind === 'hole') {
      this.refuseHole(source.at, reason);
      return;
    }
    const shown = `$${source.name}`;
    const subject = `${shown}, which may hold the value of ${this.holders.labelFor(source.name)},`;
    this.refuseVariable(source.at, { subject, shown }, reason);
  }

  /** Refuses placeholders, and variables that hold a value. */
  refuseAll(items: readonly Item[], reason: ReasonName): void {
    this.refuseAllFor(items, reasons[reason]);
  }

  refuseAllFor(items: readonly Item[], reason: Reason): void {
    for (const source of this.holders.in(items)) this.refuseFor(source, reason);
  }

  refuseHoles(items: readonly Item[], reason: ReasonName): void {
    for (const source of this.holders.in(items)) if (source.kind === 'hole') this.refuse(source, reason);
  }
}
