// `npx vitest run --update=all protocol/src/rendering/published-interpreters.test.ts` rewrites the tables.
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { powershellInterpreters } from './powershell/commands.ts';
import { type Interpreter, interpreters } from './sh/commands/interpreters.ts';
import { wrappers } from './sh/commands/wrappers.ts';

const file = fileURLToPath(new URL('../../../docs/substitution.md', import.meta.url));
const mark = '<!-- generated from the tables of interpreters in protocol/src/rendering -->\n';

const whichArguments: Record<Interpreter['arguments'], string> = {
  all: 'all',
  script: 'up to a script file that is named literally',
  after: 'after certain words',
  program: 'up to the word that names the command; then those of that command',
  subcommand: 'the same, after certain words; without one of them only the first word',
  format: 'the format; all, if it has conversions other than %s',
  number: 'all that are not numbers',
  name: 'all, except after `NAME=`',
  named: 'all, except after `--arg name`',
  dashes: 'all unless `--` is first',
  test: 'as names, as numbers, next to each other',
};
const whichInput: Record<Interpreter['input'], string> = {
  code: 'yes',
  code_without_program: 'yes, unless it has a program',
  data: 'no',
};

const names = (all: readonly string[]) => all.map((name) => `\`${name}\``).join(', ');

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const cell = (text: string) => text.replaceAll('|', '\\|');
  return [head, head.map(() => '---'), ...rows.map((row) => row.map(cell))]
    .map((cells) => `| ${cells.join(' | ')} |`)
    .join('\n');
}

test('docs/substitution.md lists the interpreters of this version', async () => {
  const [prose] = (await readFile(file, 'utf8')).split(mark);
  const parts = [
    '## Interpreters',
    'No value may stand in the arguments below, nor in the input of commands that run it.\nNames are without folder, version and `.exe`.',
    '### sh and bash',
    table(
      ['command', 'refused arguments', 'refused input', 'what it does with a value'],
      interpreters.map((each) => [
        names(each.names),
        whichArguments[each.arguments],
        whichInput[each.input],
        each.why,
      ]),
    ),
    `These run another command, which is then looked up in the table: ${names(Object.keys(wrappers))}.`,
    '### PowerShell and cmd',
    'For cmd, only those that are programs count. All programs of the table for sh and bash count here too.',
    table(
      ['command', 'what it does with a value'],
      powershellInterpreters.map((each) => [names(each.names), each.why]),
    ),
  ];
  await expect(`${prose}${mark}\n${parts.join('\n\n')}\n`).toMatchFileSnapshot(file);
});
