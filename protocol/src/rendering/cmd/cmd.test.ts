// What cmd.exe itself does with it was tried by hand under wine; docs/substitution.md says so.
import { describe, expect, test } from 'vitest';
import { checkStep, renderForPeople, renderStep } from '../index.ts';
import { scopeFor, valuesFor } from '../testing.ts';
import { cmdInput } from './write-script.ts';

const T = '${{ parameters.text }}';
const written = (text: string) => text.replaceAll('«T»', T).replaceAll('«N»', '${{ parameters.count }}');
const step = (command: string, more = {}) => ({
  type: 'winrm.exec',
  config: { command: written(command), shell: 'cmd', ...more },
});
const messagesOf = (command: string, more = {}) =>
  checkStep(step(command, more), scopeFor()).map(({ message }) => message);

test('a placeholder becomes a variable that is inserted after the line has been parsed', () => {
  const values = valuesFor({ text: "it's" });
  const { rendered } = renderStep(step('echo «T»\nif "«T»"=="x" (echo ^^! & exit /b 3)'), scopeFor(), values);
  expect(rendered).toMatchObject({
    config: { command: 'echo !OPS_1!\nif "!OPS_1!"=="x" (echo ^^! & exit /b 3)' },
    bindings: [{ name: 'OPS_1', value: "it's" }],
  });
  expect(cmdInput(String(rendered?.config.command), rendered?.bindings ?? [])).toEqual({
    batch:
      '@echo off\r\nsetlocal EnableExtensions EnableDelayedExpansion\r\necho !OPS_1!\r\nif "!OPS_1!"=="x" (echo ^^! & exit /b 3)\r\n',
    environment: { OPS_1: "it's" },
  });
  expect(cmdInput('echo Hi!', []).batch).toContain('setlocal EnableExtensions\r\n');
  expect(renderForPeople(step('echo «T»'), scopeFor(), values).fields[0]?.text).toBe("echo it's");
});

describe('accepted', () => {
  test.each([
    'echo «T»',
    'sc.exe2 query "«T»"',
    'net stop "«T»" && net start "«T»" || exit /b 1',
    'npm install "«T»" & convert "«T»" /fs:ntfs',
    'set "NAME=«T»"\necho %NAME%',
    'set /a N=«N»+1',
    'if "«T»"=="prod" (echo yes) else echo no',
    'if /i not "«T»" == "prod" exit /b 3',
    'if «N» gtr 3 echo many',
    'if exist "C:\\«T»\\x.txt" del "C:\\«T»\\x.txt"',
    'for %%i in (a b c) do echo %%i «T»',
    'dir "C:\\logs\\«T»" > "C:\\out\\«T».txt" 2>&1',
    'echo 100%% of «T»',
    'echo %~dp0 %1 «T»',
    ':: it is "quoted\necho «T»',
    'echo a ^& b «T»',
    'echo !PATH! «T»',
    '"%SystemRoot%\\System32\\net.exe" stop "«T»"',
    'set "NAME=«T»"\nset "OTHER=%NAME%"\necho %OTHER% !NAME!',
    'findstr /c:"^^a" "«T»"',
    'if exist x for %%i in (a b) do echo %%i «T»',
    'del "«T»" 2>nul',
    '>&2 echo «T»',
  ])('%s', (command) => {
    expect(messagesOf(command)).toEqual([]);
  });
});

describe('refused', () => {
  test.each([
    ['⟦«T»', 'decides which command runs', 'Name the commands yourself'],
    ['"⟦«T»" /x', 'decides which command runs', 'Name the commands yourself'],
    ['if "a"=="a" ⟦«T»', 'decides which command runs', 'Name the commands yourself'],
    ['echo ⟦«T» | find "x"', 'on a line with a pipe', 'Write the output to a file'],
    ['type x.txt | findstr "⟦«T»"', 'on a line with a pipe', 'Write the output to a file'],
    ['(\necho ⟦«T»\n) | sort', 'on a line with a pipe', 'Write the output to a file'],
    ["for /f %%i in ('dir ⟦«T»') do echo %%i", 'in what for goes over', 'without for'],
    ['for %%i in (⟦«T») do echo %%i', 'in what for goes over', 'without for'],
    ["for %%i in (x) do for /f %%j in ('dir ⟦«T»') do echo %%j", 'in what for goes over', 'without for'],
    ["if exist x for /f %%j in ('dir ⟦«T»') do echo %%j", 'in what for goes over', 'without for'],
    ['npm run ⟦«T»', 'an argument of npm', 'environment'],
    ['npm %1 ⟦«T»', 'an argument of npm', 'environment'],
    ['npx tool ⟦«T»', 'an argument of npx', 'environment'],
    ['2>nul cmd /c ⟦«T»', 'an argument of cmd', 'environment'],
    ['1>&2 2>nul call :part "⟦«T»"', 'an argument of call', 'Set a variable'],
    ['if "a"=="b",cmd /c ⟦«T»', 'only known when the script runs', 'Write the name of the command itself'],
    ['(\necho ⟦«T»\n) 2>nul | sort', 'on a line with a pipe', 'Write the output to a file'],
    ['set/a N=⟦«T»', 'stands in arithmetic', 'as an integer'],
    ['set /aN=⟦«T»', 'stands in arithmetic', 'as an integer'],
    ['call ⟦«T»', 'an argument of call', 'Set a variable'],
    ['call :part "⟦«T»"', 'an argument of call', 'Set a variable'],
    ['cmd/c ⟦«T»', 'an argument of cmd', 'environment'],
    ['cmd;/c ⟦«T»', 'an argument of cmd', 'environment'],
    [';cmd /c ⟦«T»', 'an argument of cmd', 'environment'],
    ['p""owershell -c ⟦«T»', 'an argument of powershell', 'environment'],
    ['start/b ⟦«T»', 'an argument of start', 'environment'],
    ['call"x" ⟦«T»', 'an argument of call', 'Set a variable'],
    ['%COMSPEC% /c ⟦«T»', 'only known when the script runs', 'Write the name of the command itself'],
    ['%1 ⟦«T»', 'only known when the script runs', 'Write the name of the command itself'],
    ['set "X=«T»"\n⟦!X! /a', 'decides which command runs', 'Name the commands yourself'],
    ['set "X=«T»"\ncmd /c ⟦!X!', 'an argument of cmd', 'environment'],
    ['set "X=«T»"\nset "Y=a%X%"\ncmd /c ⟦%Y%', 'an argument of cmd', 'environment'],
    ['set /p X=«T»\ncmd /c ⟦!X!', 'an argument of cmd', 'environment'],
    ['set "X=«T»"\nfor /f %%i in (\'⟦%X%\') do echo %%i', 'in what for goes over', 'without for'],
    ['goto ⟦«T»', 'where the script goes on', 'goto'],
    ['cmd /c "echo ⟦«T»"', 'an argument of cmd', 'environment'],
    ['%COMSPEC% /c dir & cmd.exe /c ⟦«T»', 'an argument of cmd', 'environment'],
    ['start "" ⟦«T»', 'an argument of start', 'environment'],
    ['powershell -Command "⟦«T»"', 'an argument of powershell', 'environment'],
    ['wmic process call create "⟦«T»"', 'an argument of wmic', 'environment'],
    ['python -c "⟦«T»"', 'an argument of python', 'environment'],
    ['C:\\tools\\perl.exe -e "⟦«T»"', 'an argument of perl', 'environment'],
    ['set /a N=⟦«T»', 'stands in arithmetic', 'as an integer'],
    ['set ⟦«T»=1', 'decides which variable is set', 'a name of your own'],
    ['set "PATH=⟦«T»"', 'tells programs what to run', 'a name of your own'],
    ['path C:\\tools;⟦«T»', 'tells programs what to run', 'a name of your own'],
    ['ftype txtfile=⟦«T»', 'tells programs what to run', 'a name of your own'],
    ['if defined ⟦«T» echo x', 'taken for the name of a variable', 'Ask whether it is empty'],
    ['if ⟦«T»==x echo y', 'stands unquoted in a condition', 'in double quotes'],
    ['echo %⟦«T»%', 'between two percent signs', 'Write %%'],
    ['echo 5% of ⟦«T» and 6%', 'between two percent signs', 'Write %%'],
    ['echo ^⟦«T»', 'after a caret', 'Remove the caret'],
    ['rem ⟦«T»', 'in a comment', 'Take it out'],
    [':label ⟦«T»', 'in a comment', 'Take it out'],
    ['echo «T»⟦!', 'An exclamation mark stands here', '^^!'],
    ['findstr /c:"⟦^a" "«T»"', 'A caret stands in double quotes', 'Write two'],
    ['echo ⟦${{ parameters.thing }}', 'a list or an object', 'becomes JSON'],
  ])('%s', (marked, why, fix) => {
    const text = written(marked);
    const before = text.slice(0, text.indexOf('⟦'));
    const place = `Line ${before.split('\n').length}, column ${before.length - before.lastIndexOf('\n')}: `;
    const messages = messagesOf(marked.replace('⟦', ''));
    const message = messages.find((each) => each.startsWith(place));
    expect(message ?? messages).toContain(why);
    expect(message).toContain(fix);
  });

  test('variables of the environment in places where their text would be parsed', () => {
    const more = { environment: { Name: T } };
    expect(messagesOf('echo !NAME!', more)).toEqual([]);
    for (const [command, why] of [
      ['echo %name%', 'is put into the line before that is read. Write !NAME!'],
      ['echo %NAME:~0,3%', 'is put into the line before that is read. Write !NAME!'],
      ['set "x=!NAME!"\necho %x%', '%X%, which holds the value of ${{ parameters.text }}'],
      ['echo !NAME! | find "x"', 'on a line with a pipe'],
      ['call echo !NAME!', 'an argument of call'],
    ] as const) {
      expect(messagesOf(command, more)[0]).toContain(why);
    }
  });
});

test('values that cmd.exe can’t quote are refused at the run', () => {
  const values = [
    'a b',
    'a"b',
    '%PATH%',
    '!PATH!',
    'a^b',
    'a&b',
    'a|b',
    'a>b',
    'a(b',
    'a\nb',
    'dir\\',
    '/s',
    '',
    '日本',
    '*',
  ];
  const refusedBy = (command: string) =>
    values.filter(
      (text) => renderStep(step(command), scopeFor(), valuesFor({ text })).rendered === undefined,
    );
  const always = ['a"b', '%PATH%', '!PATH!', 'a^b', 'a&b', 'a|b', 'a>b', 'a(b', 'a\nb'];
  expect(refusedBy('echo «T»')).toEqual([...always, '']);
  expect(refusedBy('net stop "«T»"')).toEqual([...always, 'dir\\', '/s']);
  expect(refusedBy('net stop «T»')).toEqual(['a b', ...always, '/s', '']);
  expect(refusedBy('del "«T»"')).toEqual([...always, 'dir\\', '/s', '*']);
  expect(renderStep(step('echo «T»'), scopeFor(), valuesFor({ text: 'a&b' }))).toMatchObject({
    problems: [
      {
        path: 'steps[0].config.command',
        message: '${{ parameters.text }} contains &, which cmd.exe has no reliable way to quote.',
      },
    ],
  });
});

test('a large batch script is parsed once', () => {
  for (const text of [
    '"',
    '^',
    '%',
    '!a!',
    '!',
    '(',
    '|',
    '&',
    'set a=!a!\n',
    '\n',
    '"!a!',
    '%%i ',
    '^\n',
    ')|',
    'if ',
    'if a==b ',
    'do ',
  ]) {
    const command = `echo «T»\n${text.repeat(Math.floor(100_000 / text.length))}`;
    checkStep(step(command, { environment: { A: T } }), scopeFor());
  }
});
