// How scripts get to a host: one constant program on the command line, and on its standard input whatever is to be run,
// of any length and in no code page.
import { powershellBootstrap, powershellEncoded } from '@opsconductor/protocol';
import type { CommandLine } from '../messages/soap.ts';
import { batchFiles, taskFolder, taskVariables } from '../tasks/task-program.ts';

/** cmd.exe, which begins every command, expands it. */
const programs = {
  powershell: '%SystemRoot%\\System32\\WindowsPowerShell\\v1.0\\powershell.exe',
  pwsh: 'pwsh.exe',
} as const;

export function powershellLine(shell: keyof typeof programs): CommandLine {
  return {
    command: programs[shell],
    arguments: ['-NoProfile', '-NonInteractive', '-EncodedCommand', powershellEncoded(powershellBootstrap)],
  };
}

/** The same as one line of cmd.exe; errors are told as text, and not as CLIXML. */
export function powershellText(shell: keyof typeof programs): string {
  const { command, arguments: words } = powershellLine(shell);
  return [command, '-OutputFormat', 'Text', ...words].join(' ');
}

/** What `cmdRunner` is given: the batch file, what it reads, and where it is written. */
export const batchVariables = {
  batch: 'OPSRUN_batch',
  input: 'OPSRUN_input',
  /** A folder of its own, among the user's temporary files. */
  folder: 'OPSRUN_folder',
  /** Or that of the task that it runs as, which goes with the task. */
  task: taskVariables.name,
} as const;

const ownFolder = '[IO.Path]::Combine([IO.Path]::GetTempPath(), $OPSRUN_folder)';

/**
 * Runs the batch file whose text is in `$OPSRUN_batch`. cmd.exe reads no batch file from its input, and what it is told on
 * its command line it reads by other rules. What the batch file reads, `$OPSRUN_input`, is a file beside it: a pipe of .NET could begin with a mark of its
 * encoding. It writes to the output by itself: PowerShell would read and rewrite every line.
 */
export const cmdRunner = `$ErrorActionPreference = 'Stop'
if ($OPSRUN_task) { $opsFolder = ${taskFolder} }
else {
  $opsFolder = ${ownFolder}
  $null = [IO.Directory]::CreateDirectory($opsFolder)
}
try {
  $opsFile = [IO.Path]::Combine($opsFolder, '${batchFiles.script}')
  [IO.File]::WriteAllText($opsFile, $OPSRUN_batch, (New-Object Text.UTF8Encoding $false))
  $opsStart = New-Object Diagnostics.ProcessStartInfo
  $opsStart.FileName = [Environment]::ExpandEnvironmentVariables('%SystemRoot%\\System32\\cmd.exe')
  $opsStart.Arguments = '/d /q /s /c ""' + $opsFile + '""'
  if ($OPSRUN_input) {
    [IO.File]::WriteAllText($opsFile + '.in', $OPSRUN_input, (New-Object Text.UTF8Encoding $false))
    $opsStart.Arguments = '/d /q /s /c ""' + $opsFile + '" <"' + $opsFile + '.in""'
  }
  $opsStart.UseShellExecute = $false
  $opsProcess = [Diagnostics.Process]::Start($opsStart)
  $opsProcess.WaitForExit()
  $global:LASTEXITCODE = $opsProcess.ExitCode
} finally {
  if (-not $OPSRUN_task) { try { [IO.Directory]::Delete($opsFolder, $true) } catch { } }
}
`;

/** Removes what a runner has left that was ended from outside. */
export const batchRemover = `$opsFolder = ${ownFolder}
if ([IO.Directory]::Exists($opsFolder)) { [IO.Directory]::Delete($opsFolder, $true) }
`;
