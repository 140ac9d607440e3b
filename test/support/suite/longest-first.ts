// The order of the suite: whole systems first, then tests that start PostgreSQL, so that no worker is left with a
// minute of them after the others have ended. Files that share a process are adjacent. Within a kind, vitest's own
// order is kept.
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const projects = ['system', 'alone', 'console'];
const kinds = [/\/test\/two-commands/, /\/test\/audit-checkpoint/, /\/test\//, /\/server\/src\/database\//];

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

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return (await super.sort(files)).sort(compare);
  }
}
