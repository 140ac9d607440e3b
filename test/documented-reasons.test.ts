// docs/operations.md explains every reason of a step.
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { stepReasons } from '@opsconductor/protocol';
import { expect, test } from 'vitest';

const page = readFileSync(join(resolve(import.meta.dirname, '..'), 'docs/operations.md'), 'utf8');
const section = page.split('\n### Reasons of a step\n')[1] ?? '';

test('the table of reasons lists exactly the reasons that a step may have', () => {
  const rows = [...section.matchAll(/^\| `([a-z_]+)` \|/gm)].map(([, reason]) => reason);
  // It is only reported for late results, which the text below the table explains.
  const inTable = stepReasons.filter((reason) => reason !== 'lease_expired');
  expect(rows.toSorted()).toEqual(inTable.toSorted());
  expect(section).toContain('\n`lease_expired` is reported only for a late result');
});
