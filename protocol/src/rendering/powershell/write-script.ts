// The text of a PowerShell script with references instead of placeholders, and the constant program that gives them
// their values: read from standard input as data, and never part of a script or command line.
import type { Binding } from '../bindings.ts';
import { textOf } from '../placeholders/values.ts';
import type { Site } from '../sites/sites.ts';

/** In braces, so that nothing after it can become part of its name. */
export function powershellReference(name: string): string {
  return `\${${name}}`;
}

/** Returns a value the way a person would have written it at this place. */
export function readableInPowershell(value: unknown, site: Site): string {
  if (typeof value === 'boolean') return site.as === 'word' ? `$${value}` : value ? 'True' : 'False';
  const text = textOf(value);
  if (typeof value === 'number') return text;
  if (site.as === 'word') return powershellWord(text);
  // Typographic quotes also end a string.
  return site.as === 'quoted'
    ? text.replaceAll(/["\u201c\u201d\u201e`$]/g, '`$&')
    : text.replaceAll(/[`$]/g, '`$&');
}

/** Returns the text as one argument for people to read: in single quotes unless it needs none. */
function powershellWord(text: string): string {
  return /^[A-Za-z][\w.:\\/-]*$/.test(text)
    ? text
    : `'${text.replaceAll(/['\u2018\u2019\u201a\u201b]/g, '$&$&')}'`;
}

/**
 * Returns why a value can't be an argument of a program: Windows PowerShell doesn't quote a double quote or a final
 * backslash, and drops an empty argument; and a program that may be a batch file is parsed by cmd.exe too.
 */
export function powershellProblem(text: string, { toProgram, isPath }: Site): string | undefined {
  if (
    isPath === true &&
    /^\s*((microsoft\.)?powershell\.core\\)?(function|alias|variable|env|environment):/i.test(text)
  ) {
    return 'names a function or a variable of PowerShell, not a file';
  }
  if (toProgram === undefined) return undefined;
  if (text === '') return 'is empty, and Windows PowerShell leaves an empty argument of a program out';
  if (text.includes('"'))
    return 'contains a double quote, which Windows PowerShell hands to a program without quoting it';
  if (text.endsWith('\\')) return 'ends with a backslash, which would quote the quote behind it';
  const found = toProgram === 'any' ? /[%!^&|<>()\r\n]/.exec(text)?.[0] : undefined;
  return found === undefined
    ? undefined
    : `contains ${JSON.stringify(found)}, which cmd.exe reads in a special way where the command is a batch file; write its name with .exe where it is none`;
}

/**
 * Run as `powershell.exe -NoProfile -NonInteractive -EncodedCommand …` (or pwsh), with the lines of `powershellInput`
 * on standard input; what follows them is left for the script. Values become variables of the session, not parameters
 * of a script block, so that a script may begin with `using`, `#requires` or `param` of its own. No cmdlet is used,
 * because module logging would record its arguments. Truncated input runs nothing. PowerShell's variable for its input
 * must not be named here: it would make PowerShell read all of standard input before it begins.
 */
export const powershellBootstrap = `$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$OutputEncoding = [Console]::OutputEncoding = New-Object Text.UTF8Encoding $false
$opsIn = [Console]::In
$opsText = { [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String($opsIn.ReadLine())) }
$opsCount = [int]$opsIn.ReadLine()
for ($opsAt = 0; $opsAt -lt $opsCount; $opsAt++) {
  $opsName = $opsIn.ReadLine()
  $opsType = $opsIn.ReadLine()
  $opsValue = & $opsText
  if ($opsType -ceq 'environment') {
    $opsPair = $opsValue.Split([char[]]'=', 2)
    [Environment]::SetEnvironmentVariable($opsPair[0], $opsPair[1])
    continue
  }
  if ($opsType -ceq 'program') { $null = & ([ScriptBlock]::Create($opsValue)); continue }
  if ($opsType -ceq 'input') { $opsData = $opsValue; continue }
  $opsCulture = [Globalization.CultureInfo]::InvariantCulture
  if ($opsType -ceq 'boolean') { $opsValue = $opsValue -ceq 'true' }
  elseif ($opsType -ceq 'integer') { $opsValue = [long]::Parse($opsValue, $opsCulture) }
  elseif ($opsType -ceq 'number') { $opsValue = [double]::Parse($opsValue, $opsCulture) }
  $ExecutionContext.SessionState.PSVariable.Set($opsName, $opsValue)
}
$opsScript = [ScriptBlock]::Create((& $opsText))
if ($opsIn.ReadLine() -cne 'end') { throw 'The script did not arrive whole.' }
$ErrorActionPreference = 'Continue'
$global:LASTEXITCODE = 0
if ($null -eq $opsData) { & $opsScript } else { $opsData -split '\\r?\\n' | & $opsScript }
exit $LASTEXITCODE
`;

/**
 * Returns what the bootstrap reads: the number of values, each in three lines, then the script; ASCII only. Environment
 * variables are values without a name: they are set before the script runs, not when PowerShell starts. So are the
 * lines that the script finds as `$input`, and programs that run before it.
 */
export function powershellInput(
  script: string,
  bindings: readonly Binding[],
  environment: Readonly<Record<string, string>> = {},
  { programs = [], input }: { programs?: readonly string[]; input?: string | undefined } = {},
): string {
  const unnamed = [
    ...Object.entries(environment).map(([name, value]) => ['environment', `${name}=${value}`] as const),
    ...programs.map((program) => ['program', program] as const),
    // The end of its last line doesn't begin another one.
    ...(input === undefined ? [] : [['input', input.replace(/\r?\n$/, '')] as const]),
  ];
  const lines = [
    String(bindings.length + unnamed.length),
    ...bindings.flatMap(({ name, type, value }) => [name, type, base64(utf8(textOf(value)))]),
    ...unnamed.flatMap(([type, value]) => ['-', type, base64(utf8(value))]),
    base64(utf8(script)),
    'end',
    '',
  ];
  return lines.join('\n');
}

/** Returns the argument of `-EncodedCommand`. */
export function powershellEncoded(script: string): string {
  const bytes = new Uint8Array(script.length * 2);
  for (let at = 0; at < script.length; at += 1) {
    const unit = script.charCodeAt(at);
    bytes[2 * at] = unit & 0xff;
    bytes[2 * at + 1] = unit >> 8;
  }
  return base64(bytes);
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function base64(bytes: Uint8Array): string {
  let text = '';
  for (let at = 0; at < bytes.length; at += 8_192)
    text += String.fromCharCode(...bytes.subarray(at, at + 8_192));
  return btoa(text);
}
