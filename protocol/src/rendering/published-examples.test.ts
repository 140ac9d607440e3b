// Checks the examples of docs/substitution.md for sh and bash as a save would: those that may stand are accepted, those
// in the column of what is refused are refused, and what the page says to write in their place is accepted.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { checkStep } from './index.ts';
import { scopeFor } from './testing.ts';

const file = fileURLToPath(new URL('../../../docs/substitution.md', import.meta.url));
const section = /\n## sh and bash\n([\s\S]*?)\n## /.exec(readFileSync(file, 'utf8'))?.[1] ?? '';
const rows = section
  .split('\n')
  .filter((line) => line.startsWith('| '))
  .map((line) =>
    line
      .slice(2, -2)
      .split(/(?<!\\) \| /)
      .map((cell) => scriptsIn(cell)),
  );
const allowed = rows.filter((cells) => cells.length === 2).flatMap(([, example = []]) => example);
const refused = rows.filter((cells) => cells.length === 3).flatMap(([example = []]) => example);
const instead = rows.filter((cells) => cells.length === 3).flatMap(([, , example = []]) => example);

/** Scripts with a placeholder that are complete: some are described with `…`, or by the name of a command alone. */
function scriptsIn(cell: string): string[] {
  return [...cell.matchAll(/`` ?(.+?) ?``|`([^`]+)`/g)]
    .map(([, double, single]) => (double ?? single ?? '').replaceAll('\\|', '|'))
    .filter((script) => script.includes('${{') && !/…(?! \*\)| esac)/.test(script));
}

const scope = scopeFor();
const named = ['file', 'name', 'env', 'x', 'y', 'text', 'command', 'service'];
const parameters = {
  ...Object.fromEntries(named.map((name) => [name, { type: 'string' as const }])),
  count: { type: 'integer' as const },
};

/** Arguments are shown without the command that they are for. */
const problems = (script: string) =>
  checkStep(
    {
      type: 'ssh.exec',
      config: { command: /^["']|^\$\([^(]/.test(script) ? `echo ${script}` : script },
    },
    { ...scope, parameters },
  ).map(({ message }) => message);

test('the tables are read', () => {
  expect(allowed.length).toBeGreaterThanOrEqual(6);
  expect(refused.length).toBeGreaterThanOrEqual(16);
  expect(instead.length).toBeGreaterThanOrEqual(4);
});

test.each([...new Set([...allowed, ...instead])])('%s may stand in a script', (script) => {
  expect(problems(script)).toEqual([]);
});

test.each([...new Set(refused)])('%s is refused', (script) => {
  expect(problems(script)).not.toEqual([]);
});
