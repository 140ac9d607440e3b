// Values that a PowerShell script reaches by a name that is text, and commands that it names in other ways than usual.
import { expect, test } from 'vitest';
import { checkStep } from '../index.ts';
import { scopeFor } from '../testing.ts';

const T = '${{ parameters.text }}';
const messagesOf = (script: string, config: Record<string, unknown> = {}) =>
  checkStep(
    { type: 'winrm.exec', config: { command: script.replaceAll(/\bT\b/g, T), ...config } },
    scopeFor(),
  ).map(({ message }) => message);

test.each([
  "$alias:run = 'iex'; run T",
  'Set-Item alias:run iex; run T',
  'New-Item -Path alias:\\run -Value iex; run T',
  'Copy-Item alias:iex alias:run; run T',
  'Rename-Item alias:iex run; run T',
  '$x = T; iex (Get-Variable x -ValueOnly)',
  '$x = T; iex (gv x).Value',
  '$x = T; iex (Get-Content variable:x)',
  "$ExecutionContext.SessionState.PSVariable.Set('x', T); iex $x",
  "[Environment]::SetEnvironmentVariable('PATH', T)",
  '[Environment]::SetEnvironmentVariable($name, T)',
  'class A { A([string]$s) { iex $s } }; [A]::new(T)',
  'class A { static [void] R([string]$s) { iex $s } }; [A]::R(T)',
  'class A { static [string] G() { return T } }; iex ([A]::G())',
  '$r = [runspacefactory]::CreateRunspace(); $r.CreatePipeline(T).Invoke()',
  '$Host.Runspace.CreateNestedPipeline(T, $false).Invoke()',
  '$e.Document.ActiveView.ExecuteShellCommand(T, $null, $null, 7)',
])('refused: %s', (script) => {
  expect(messagesOf(script)).not.toEqual([]);
});

test.each([
  'iex (Get-Item env:NAME).Value',
  "iex ([Environment]::GetEnvironmentVariable('NAME'))",
  '(Get-Item env:NAME).Value | iex',
])('refused if a value goes into the environment: %s', (script) => {
  expect(messagesOf(script, { environment: { NAME: T } })).not.toEqual([]);
  expect(messagesOf(script, { environment: { NAME: 'a' } })).toEqual([]);
});

test.each([
  "[Environment]::SetEnvironmentVariable('APP_MODE', T)",
  'Set-Item alias:ll Get-ChildItem; Write-Output T',
  'if($x) { Write-Output T }',
  'class A { [void] R([string]$s) { Write-Output $s } }; [A]::new().R(T)',
  'Get-Content env:COMPUTERNAME; Write-Output T',
])('accepted: %s', (script) => {
  expect(messagesOf(script)).toEqual([]);
});
