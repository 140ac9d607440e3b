// How scripts get to a host: one constant program on the command line reads whatever is to be run from its standard
// input, which may have any length and is independent of code pages.
import { powershellBootstrap, powershellEncoded } from '@opsconductor/protocol';
import type { CommandLine } from '../messages/soap.ts';
import { batchFiles, taskFolder, taskVariables } from '../tasks/task-program.ts';

/** Expanded by cmd.exe, which starts every command. */
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

/** The same as one line for cmd.exe; errors are reported as text, not as CLIXML. */
export function powershellText(shell: keyof typeof programs): string {
  const { command, arguments: words } = powershellLine(shell);
  return [command, '-OutputFormat', 'Text', ...words].join(' ');
}

/** Variables of `cmdRunner`: the batch file, its input, and the folder that both are written to. */
export const batchVariables = {
  batch: 'OPSRUN_batch',
  input: 'OPSRUN_input',
  /** A folder of its own, among the user's temporary files. */
  folder: 'OPSRUN_folder',
  /** Or that of the task that it runs as, which is removed with the task. */
  task: taskVariables.name,
} as const;

const ownFolder = '[IO.Path]::Combine([IO.Path]::GetTempPath(), $OPSRUN_folder)';

/**
 * Runs the batch file whose text is in `$OPSRUN_batch`. cmd.exe reads no batch file from its input, and parses its
 * command line by other rules. The input of the batch file, `$OPSRUN_input`, is a file next to it, because a pipe of
 * .NET could begin with a byte order mark. The batch file writes to the output directly, since PowerShell would read
 * and rewrite every line.
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

/** Removes what a runner left behind when it was ended from outside. */
export const batchRemover = `$opsFolder = ${ownFolder}
if ([IO.Directory]::Exists($opsFolder)) { [IO.Directory]::Delete($opsFolder, $true) }
`;
