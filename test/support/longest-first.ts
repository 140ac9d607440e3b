// The order of the suite: whole systems first, then what starts PostgreSQL, so that no worker is left with a minute of
// them when the other has ended. Within a kind vitest's own order holds.
import { BaseSequencer, type TestSpecification } from 'vitest/node';

const kinds = [/\/test\/two-commands/, /\/test\/audit-checkpoint/, /\/test\//, /\/server\/src\/database\//];

function rank({ moduleId }: TestSpecification): number {
  const at = kinds.findIndex((kind) => kind.test(moduleId));
  return at === -1 ? kinds.length : at;
}

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}
