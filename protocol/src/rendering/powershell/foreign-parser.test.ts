import fc from 'fast-check';
import { expect, test } from 'vitest';
import { checkStep, renderStep } from '../index.ts';
import { scopeFor, valuesFor } from '../testing.ts';
import { foreignParser } from './foreign-parser.ts';

const parse = await foreignParser();
const scope = scopeFor();
const text = '${{parameters.text}}';
const stepOf = (command: string) => ({ type: 'winrm.exec', config: { command } });
const messagesOf = (command: string) => checkStep(stepOf(command), scope).map(({ message }) => message);
const rendered = (command: string, parameters: Record<string, unknown> = {}) => {
  const values = valuesFor({ text: 'a', other: 'b', count: 3, flag: true, ...parameters });
  return renderStep(stepOf(command), scope, values);
};

// `powershell.test.ts` relies on our own parser for what it says about accepted scripts; this one uses a different
// parser.
const accepted: [string, string][] = [
  [
    'Install-WindowsUpdate -AcceptAll -AutoReboot:${{parameters.flag}}',
    'Install-WindowsUpdate -AcceptAll -AutoReboot:${OPS_1}',
  ],
  [`Get-Service ${text}`, 'Get-Service ${OPS_1}'],
  [`Get-Service -Name "${text}*"`, 'Get-Service -Name "${OPS_1}*"'],
  [`Get-Service -Name ${text}, "spooler"`, 'Get-Service -Name ${OPS_1}, "spooler"'],
  ['Start-Sleep ${{ parameters.count }}', 'Start-Sleep ${OPS_1}'],
  [`Write-Output "a $(Get-Item ${text}) b"`, 'Write-Output "a $(Get-Item ${OPS_1}) b"'],
  [`Write-Output @"\nsay "${text}"\n"@`, 'Write-Output @"\nsay "${OPS_1}"\n"@'],
  [`$name = ${text}\nGet-Item $name`, '$name = ${OPS_1}\nGet-Item $name'],
  [
    `if (${text} -eq 'a') { Get-Item ${text} } else { exit 2 }`,
    "if (${OPS_1} -eq 'a') { Get-Item ${OPS_1} } else { exit 2 }",
  ],
  [
    `foreach ($i in 1..\${{parameters.count}}) { Write-Output "$i ${text}" }`,
    'foreach ($i in 1..${OPS_1}) { Write-Output "$i ${OPS_2}" }',
  ],
  [
    `Get-Process | Where-Object { $_.Name -eq ${text} }`,
    'Get-Process | Where-Object { $_.Name -eq ${OPS_1} }',
  ],
  [`$x -match [regex]::Escape(${text})`, '$x -match [regex]::Escape(${OPS_1})'],
  [`[IO.File]::ReadAllText(${text})`, '[IO.File]::ReadAllText(${OPS_1})'],
  [`$h = @{ Name = ${text}; iex = 1 }`, '$h = @{ Name = ${OPS_1}; iex = 1 }'],
  [`& "C:\\Tools\\tool.exe" /name "${text}"`, '& "C:\\Tools\\tool.exe" /name "${OPS_1}"'],
  [`'{0}!' -f ${text}`, "'{0}!' -f ${OPS_1}"],
  [
    `switch (${text}) {\n  'start' { Start-Service x }\n  'stop' { Stop-Service x }\n}`,
    "switch (${OPS_1}) {\n  'start' { Start-Service x }\n  'stop' { Stop-Service x }\n}",
  ],
  [`Write-Output ${text} > "C:\\log\\${text}.txt"`, 'Write-Output ${OPS_1} > "C:\\log\\${OPS_1}.txt"'],
  [`# iex\nWrite-Output ${text} # iex`, '# iex\nWrite-Output ${OPS_1} # iex'],
  [`iex \`\n; Write-Output ${text}`, 'iex `\n; Write-Output ${OPS_1}'],
  [
    `function Show($it) { Write-Output $it }\nShow ${text}`,
    'function Show($it) { Write-Output $it }\nShow ${OPS_1}',
  ],
];

for (const [command, expected] of accepted) {
  test(`accepted: ${JSON.stringify(command)}`, () => {
    expect(messagesOf(command)).toEqual([]);
    expect(rendered(command).rendered?.config.command).toBe(expected);
    expect(parse(expected).isSound).toBe(true);
  });
}

const heads = [
  '',
  'Get-Item ',
  'Get-Item -Name ',
  '.\\tool.exe ',
  '7z a ',
  '$x = ',
  'if ($y) { ',
  'return ',
  '"a ',
  '$(',
  '@{ a = ',
  'iex ',
  '& iex ',
  ':each foreach ($y in 1) { ',
  'do { 1 } while ($y) ',
  '$x = if ($y) { 1 } ',
  'try { 1 } catch { 2 } ',
  '[CmdletBinding()] param($y) ',
  'switch ($y) { 1 { 2 } } ',
];
/** Pieces with a meaning in PowerShell, in any order. */
const pieces = [
  ...[
    ' ',
    ' ',
    '\n',
    ';',
    ' | ',
    '(',
    ')',
    '{ ',
    ' }',
    '"',
    "'",
    '`',
    ', ',
    ' = ',
    '[',
    ']',
    '$x',
    ' -Name ',
  ],
  ...[' -eq ', 'iex ', 'Get-Item ', 'cmd ', 'if ', 'return ', ' & ', '. ', '@{ a = ', '$(', '1 ', '$x.Name'],
  ...[
    ' 2>&1',
    ' > ',
    ' += ',
    ' -f ',
    '& ',
    ' *',
    'else { ',
    'while ($y) { ',
    '%{ ',
    '7z ',
    '.\\t.exe ',
    '`\n',
  ],
  ...[' && ', ' 2>$null ', '@(', '@y ', '<# c #>', ' -split ', '::new(', '.Trim()', '$env:A', "'b' ", '!'],
];
const some = (maxLength: number) => fc.array(fc.constantFrom(...pieces), { maxLength });
const scripts = fc
  .tuple(fc.constantFrom(...heads), some(3), fc.constantFrom(text, `"${text}"`), some(4))
  .map(([head, before, value, after]) => [head, ...before, value, ...after].join(''));

/**
 * Within a command, PowerShell ends an argument before a dot that white space follows (`GetMemberAccessOperator` of its
 * tokenizer). The other parser looks for a member's name on the next line, and so takes that line for a part of the
 * command. In the same way it looks there for what `-split` splits, which to a command is the name of a parameter, and
 * for what `!` negates, which to a command is an argument. A continued line is white space to PowerShell, so that a
 * semicolon at the beginning of the next line ends the command; the other parser takes it for an argument. A backtick
 * right after a word continues no line but escapes its end, which becomes a part of the word (`ScanGenericToken`); the
 * other parser ends the word there. In a string `<#` is text; to the other parser it may be a comment, after a backtick
 * for example.
 */
const readsOtherwise = /[\w)\]}"']\.\s|(-split|!)\s*\n|`\n\s*;|\S`\n|"[^"]*<#/;

test('accepted placeholders become references that expand, and are not arguments of anything that runs them', () => {
  const numRuns = Number(process.env.SUBSTITUTION_RUNS ?? 8_000);
  let looked = 0;
  fc.assert(
    fc.property(scripts, (command) => {
      if (readsOtherwise.test(command) || messagesOf(command).length > 0) return;
      const script = rendered(command).rendered?.config.command as string;
      const other = parse(script);
      if (!other.isSound) return;
      looked += 1;
      for (const { index } of script.matchAll(/\$\{OPS_1\}/g)) {
        expect(other.verbatim.filter(({ from, to }) => from <= index && index < to)).toEqual([]);
        expect(other.commandsOf.get(index)).toBeDefined();
        expect(other.commandsOf.get(index)).not.toContainEqual(expect.stringMatching(/^(iex|cmd)$/i));
      }
    }),
    { numRuns },
  );
  expect(looked).toBeGreaterThan(numRuns / 100);
});
