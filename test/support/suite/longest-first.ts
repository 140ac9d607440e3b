// The order of the suite: whole systems first, then tests that start PostgreSQL, so that no worker is left with a
// minute of them after the others have ended. Files that share a process are adjacent. Within a kind, vitest's own
// order is kept, which is the longest first.
//
// Whole systems and browsers need the processor, and tests of an agent mostly wait. Side by side with others of their
// kind, the former would wait for each other, and then the latter would leave the processor without work: so they are
// spread among them.
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const projects = ['system', 'alone', 'console'];
const kinds = [
  /\/test\/two-commands/,
  /\/test\/audit-checkpoint/,
  /\/test\//,
  /\/server\/src\/database\//,
  // They wait for events, up to seconds.
  /\/ui\/src\/state\//,
];
const isBusy = ({ moduleId }: TestSpecification) => /\/test\//.test(moduleId);
const isWaiting = ({ moduleId }: TestSpecification) =>
  /\/agent\/src\/(steps|detached|identity|winrm)\/|\/server\/src\/database\//.test(moduleId);

function compare(a: TestSpecification, b: TestSpecification): number {
  return projectOf(a) - projectOf(b) || kindOf(a) - kindOf(b);
}

function projectOf({ project }: TestSpecification): number {
  return projects.indexOf(project.name);
}

function kindOf({ moduleId }: TestSpecification): number {
  const at = kinds.findIndex((kind) => kind.test(moduleId));
  return at === -1 ? kinds.length : at;
}

/** Spreads the waiting files evenly among the busy ones that come before them; the longest of both still come first. */
export function spread<T>(
  files: readonly T[],
  { busy, waiting }: Record<'busy' | 'waiting', (file: T) => boolean>,
): T[] {
  const among = files.filter(busy);
  const spare = files.filter((file) => !busy(file) && waiting(file));
  const rest = files.filter((file) => !busy(file) && !waiting(file));
  const each = spare.length / Math.max(among.length, 1);
  return [
    ...among.flatMap((file, n) => [file, ...spare.slice(Math.round(n * each), Math.round((n + 1) * each))]),
    ...(among.length === 0 ? spare : []),
    ...rest,
  ];
}

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = (await super.sort(files)).sort(compare);
    const own = sorted.filter((file) => file.project.name === 'system');
    const others = sorted.filter((file) => file.project.name !== 'system');
    return [...spread(own, { busy: isBusy, waiting: isWaiting }), ...others];
  }
}
