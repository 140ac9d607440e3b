// Chooses which status changes the next round should provoke, and under which faults: those that have coincided least
// often so far.
import { statusEdges } from '@opsconductor/protocol';
import { type Aim, type FaultKind, faultKinds } from './plan-round.ts';
import { type ShapeName, shapeNames, shapeOf } from './shapes/shapes.ts';

/** By fault and change, how often they coincided. */
export type Coverage = Record<string, Record<string, number>>;

/** How often every fault should coincide with every change. */
export const wantedMeetings = 20;
/** With more of them, too little time is left for anything to happen. */
const faultsAtATime = 3;
/** While one of these is in force nothing happens; everything happens after it, when no other fault begins. */
const stilling: ReadonlySet<FaultKind> = new Set([
  'postgres-killed',
  'postgres-stopped',
  'database-outage',
  'database-restored',
  'standby-promoted',
]);

/** Every change in the table of allowed ones, as `step ready>running`. */
export const allEdges: readonly string[] = (['step', 'target_run', 'run'] as const).flatMap((kind) =>
  Object.entries<readonly string[]>(statusEdges[kind]).flatMap(([from, to]) =>
    to.map((each) => `${kind} ${from}>${each}`),
  ),
);

/** Changes that the table allows but nothing leads to, with the reason; a round in which one occurs is a finding. */
export const neverMet: Readonly<Record<string, string>> = {
  'step ready>skipped':
    'of a host’s steps one at a time is ready or held: what its end skips is still pending, or leased ahead',
  'target_run held>cancelling':
    'the cancel of its run ends a held step unknown, nothing follows that on its host, and in a run that is being cancelled nothing is held',
  ...Object.fromEntries(
    ['queued', 'running', 'cancelling', 'held'].map((from) => [
      `target_run ${from}>partial`,
      'a target run ends as its last step does',
    ]),
  ),
};

/** Changes of a target run that was cancelled by itself; they are also among those above. */
export const hostEdges: readonly string[] = [
  'queued>cancelled',
  'running>cancelling',
  'running>cancelled',
  'running>unknown',
  'cancelling>cancelled',
  'cancelling>unknown',
  'held>unknown',
  'unknown>cancelled',
  'unknown>running',
].map((edge) => `host ${edge}`);

/** Changes that each fault should coincide with. */
export const wantedEdges = [...allEdges.filter((edge) => neverMet[edge] === undefined), ...hostEdges];

export function missingMeetings(coverage: Coverage, fault: string, edge: string): number {
  return Math.max(0, wantedMeetings - (coverage[fault]?.[edge] ?? 0));
}

const shapes = new Map(shapeNames.map((name) => [name, shapeOf(name)]));

export class AimChooser {
  readonly #coverage: Coverage;
  /** How often a shape was aimed at a fault: if that adds nothing, others get their turn. */
  readonly #tries = new Map<string, number>();

  constructor(coverage: Coverage) {
    this.#coverage = structuredClone(coverage);
  }

  add(coverage: Coverage): void {
    for (const [fault, row] of Object.entries(coverage)) {
      this.#coverage[fault] ??= {};
      const known = this.#coverage[fault];
      for (const [edge, times] of Object.entries(row)) known[edge] = (known[edge] ?? 0) + times;
    }
  }

  /** Returns `undefined` once nothing is missing that any shape leads to. */
  next(): Aim | undefined {
    const [best] = shapeNames
      .map((shape) => {
        const ranked = faultKinds
          .map((fault) => ({ fault, worth: this.#worth(shape, fault) }))
          .filter(({ worth }) => worth > 0)
          .sort((a, b) => b.worth - a.worth);
        const first = ranked.find(({ fault }) => stilling.has(fault));
        const byFault = ranked
          .filter((each) => each === first || !stilling.has(each.fault))
          .filter(({ fault }, at) => at === 0 || fault !== 'target-cut' || !shapes.get(shape)?.isLostToCuts)
          .slice(0, faultsAtATime);
        return { shape, byFault, worth: byFault.reduce((sum, { worth }) => sum + worth, 0) };
      })
      .sort((a, b) => b.worth - a.worth);
    if (best === undefined || best.worth === 0) return undefined;
    const faults = best.byFault.map(({ fault }) => fault);
    for (const fault of faults) {
      const key = `${best.shape} ${fault}`;
      this.#tries.set(key, (this.#tries.get(key) ?? 0) + 1);
    }
    return { shape: best.shape, faults };
  }

  #worth(shape: ShapeName, fault: FaultKind): number {
    const { edges, timesEach, only } = shapes.get(shape) ?? shapeOf(shape);
    if (only?.includes(fault) === false) return 0;
    const fills = (edge: string) => Math.min(timesEach, missingMeetings(this.#coverage, fault, edge));
    const missing = edges.reduce((sum, edge) => sum + fills(edge), 0);
    return missing / 2 ** (this.#tries.get(`${shape} ${fault}`) ?? 0);
  }
}

/** In the notation of the command line. */
export function aimText({ shape, faults }: Aim): string {
  return `${shape}:${faults.join(',')}`;
}

export function parseAim(text: string): Aim {
  const [name, list = ''] = text.split(':');
  const shape = shapeNames.find((each) => each === name);
  const faults = list.split(',').map((one) => faultKinds.find((kind) => kind === one));
  const known = faults.filter((kind) => kind !== undefined);
  if (shape !== undefined && known.length === faults.length) return { shape, faults: known };
  throw new Error(
    `--aim: found ${JSON.stringify(text)}; allowed: auto, or SHAPE:FAULT,FAULT with a shape of ${shapeNames.join(', ')}`,
  );
}
