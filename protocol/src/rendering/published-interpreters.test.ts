// `npx vitest run --update=all protocol/src/rendering/published-interpreters.test.ts` writes the tables anew.
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { powershellInterpreters } from './powershell/commands.ts';
import { type Interpreter, interpreters, wrappers } from './sh/interpreters.ts';

const file = fileURLToPath(new URL('../../../docs/substitution.md', import.meta.url));
const mark = '<!-- generated from the tables of interpreters in protocol/src/rendering -->\n';

const whichArguments: Record<Interpreter['arguments'], string> = {
  all: 'all',
  script: 'up to a script file that is named literally',
  after: 'behind some words',
  format: 'the format; with other conversions than %s all',
  number: 'all that are no number',
  name: 'all but behind `NAME=`',
  named: 'all but behind `--arg name`',
  dashes: 'all unless `--` is first',
  test: 'as names, as numbers, beside each other',
};
const whichInput: Record<Interpreter['input'], string> = {
  code: 'yes',
  code_without_program: 'unless it has a program',
  data: 'no',
};

const names = (all: readonly string[]) => all.map((name) => `\`${name}\``).join(', ');

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cell = (text: string) => text.replaceAll('|', '\\|');
  return [head, head.map(() => '---'), ...rows.map((row) => row.map(cell))]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
}

test('docs/substitution.md has the interpreters of this version', async () => {
  const [prose] = (await readFile(file, 'utf8')).split(mark);
  const parts = [
    '## Interpreters',
    'No value may stand in these arguments, nor in the input of those that run it. Names are without folder, version and `.exe`.',
    '### sh and bash',
    table(
      ['command', 'refused arguments', 'refused input', 'which'],
      interpreters.map((each) => [
        names(each.names),
        whichArguments[each.arguments],
        whichInput[each.input],
        each.why,
      ]),
    ),
    `What these run is found behind them: ${names(Object.keys(wrappers))}.`,
    '### PowerShell and cmd',
    'In cmd those of them that are programs. All of sh’s that are programs count here too.',
    table(
      ['command', 'which'],
      powershellInterpreters.map((each) => [names(each.names), each.why]),
    ),
  ];
  await expect(`${prose}${mark}\n${parts.join('\n\n')}\n`).toMatchFileSnapshot(file);
});
