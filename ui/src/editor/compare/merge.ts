// Three-way merge of definitions: the one that editing began with, mine, and the one that someone else saved in
// between. What only they changed is taken over; where both changed a place differently, a person chooses.
import type { JobDefinition } from '@opsconductor/protocol';
import { sameValue } from '../text/apply-edit.ts';
import type { Edit } from '../text/edit-definition.ts';
import { type Path, printPath } from '../text/path.ts';

export interface Side {
  /** Shown to people, and the key of a choice: `step apply: config.timeout`. */
  label: string;
  base: unknown;
  mine: unknown;
  theirs: unknown;
  /** Both sides changed it, differently. */
  contested: boolean;
  /** Edits that give my text their value here. */
  edits: readonly Edit[];
}

type Fields = Record<string, unknown>;
type Step = Fields & { name: string; id?: string };

/** Returns the places that they changed, in the order of their definition. */
export function theirChanges(base: JobDefinition, mine: JobDefinition, theirs: JobDefinition): Side[] {
  const { steps: baseSteps, ...baseRest } = base;
  const { steps: mySteps, ...myRest } = mine;
  const { steps: theirSteps, ...theirRest } = theirs;
  return [
    ...compare(baseRest as Fields, myRest as Fields, theirRest as Fields, [], ''),
    ...compareSteps(
      baseSteps as unknown as Step[],
      mySteps as unknown as Step[],
      theirSteps as unknown as Step[],
    ),
  ];
}

function compare(base: Fields, mine: Fields, theirs: Fields, path: Path, label: string): Side[] {
  const keys = [...new Set([...Object.keys(theirs), ...Object.keys(base)])];
  return keys.flatMap((key): Side[] => {
    const [before, own, other] = [base[key], mine[key], theirs[key]];
    if (sameValue(before, other) || sameValue(own, other)) return [];
    const here = [...path, key];
    if ([before, own, other].every(isFields))
      return compare(before as Fields, own as Fields, other as Fields, here, label);
    const edit: Edit =
      other === undefined ? { kind: 'remove', path: here } : { kind: 'set', path: here, value: other };
    return [
      {
        label: `${label}${printPath(here.slice(label === '' ? 0 : 2))}`,
        base: before,
        mine: own,
        theirs: other,
        contested: !sameValue(before, own),
        edits: [edit],
      },
    ];
  });
}

function compareSteps(base: readonly Step[], mine: readonly Step[], theirs: readonly Step[]): Side[] {
  const sides: Side[] = [];
  theirs.forEach((step, place) => {
    const before = base.find((one) => isSame(one, step));
    const at = mine.findIndex((one) => isSame(one, step));
    if (before !== undefined && at >= 0) {
      sides.push(...compare(before, mine[at] as Step, step, ['steps', at], `step ${step.name}: `));
    } else if (at === -1 && before === undefined) {
      const edit: Edit = { kind: 'insert', path: ['steps'], at: Math.min(place, mine.length), value: step };
      sides.push({
        label: `step ${step.name}, which is new`,
        base: undefined,
        mine: undefined,
        theirs: step,
        contested: false,
        edits: [edit],
      });
    } else if (at === -1 && before !== undefined && !sameValue(before, step)) {
      const edit: Edit = { kind: 'insert', path: ['steps'], at: Math.min(place, mine.length), value: step };
      sides.push({
        label: `step ${step.name}, which you deleted and they changed`,
        base: before,
        mine: undefined,
        theirs: step,
        contested: true,
        edits: [edit],
      });
    } else if (before === undefined && at >= 0 && !sameValue(mine[at], step)) {
      const edit: Edit = { kind: 'set', path: ['steps', at], value: step };
      sides.push({
        label: `step ${step.name}, which both added`,
        base: undefined,
        mine: mine[at],
        theirs: step,
        contested: true,
        edits: [edit],
      });
    }
  });
  base.forEach((step) => {
    const at = mine.findIndex((one) => isSame(one, step));
    if (at === -1 || theirs.some((one) => isSame(one, step))) return;
    const edit: Edit = { kind: 'remove', path: ['steps', at], whole: true };
    const contested = !sameValue(step, mine[at]);
    sides.push({
      label: `step ${step.name}, which they deleted`,
      base: step,
      mine: mine[at],
      theirs: undefined,
      contested,
      edits: [edit],
    });
  });
  return sides;
}

function isSame(a: Step, b: Step): boolean {
  return a.id !== undefined && b.id !== undefined ? a.id === b.id : a.name === b.name;
}

function isFields(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Returns the edits of the changes to take over, in an order that keeps paths valid: values first, then removed steps
 * from last to first, then added steps from first to last.
 */
export function editsToTake(sides: readonly Side[]): Edit[] {
  const edits = sides.flatMap((side) => side.edits);
  const isStep = ({ kind, path }: Edit) =>
    kind === 'insert' || (kind === 'remove' && path.length === 2 && path[0] === 'steps');
  const removals = edits.filter((edit) => isStep(edit) && edit.kind === 'remove');
  const arrivals = edits.filter((edit) => edit.kind === 'insert');
  return [
    ...edits.filter((edit) => !isStep(edit)),
    ...removals.toSorted((a, b) => Number(b.path[1]) - Number(a.path[1])),
    ...arrivals.toSorted((a, b) => (a.kind === 'insert' && b.kind === 'insert' ? a.at - b.at : 0)),
  ];
}
