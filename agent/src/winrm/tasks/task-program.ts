// Runs a script on a host outside the remote logon, as a scheduled task made only for it: as the system if that is
// requested, and whether or not anybody is connected.

/** Names of the variables that the program is given. */
export const taskVariables = {
  verb: 'OPSRUN_do',
  name: 'OPSRUN_task',
  supervisor: 'OPSRUN_supervisor',
  input: 'OPSRUN_input',
  program: 'OPSRUN_program',
  directory: 'OPSRUN_directory',
  user: 'OPSRUN_user',
  password: 'OPSRUN_password',
  priority: 'OPSRUN_priority',
  stdout: 'OPSRUN_stdout',
  stderr: 'OPSRUN_stderr',
} as const;

/**
 * Folder of the task that `$OPSRUN_task` names. In `Windows\Temp` users can create entries but not replace those of
 * others. They could if it was below a folder of ProgramData that they had made first.
 */
export const taskFolder =
  "[IO.Path]::Combine([Environment]::GetFolderPath('Windows'), 'Temp', 'OpsConductor-' + $OPSRUN_task)";

/** The task's batch file and its input: empty files in the folder from the start. */
export const batchFiles = { script: 'step.cmd', input: 'step.cmd.in' } as const;

/**
 * Run by the bootstrap over WinRM. `start` creates the task and its folder, and follows the task. Only administrators
 * and the system have access to the folder; the user that the task runs as has access to the files in it. `follow`
 * reports what the task prints from the given positions on, and its end. `stop` ends everything in it. `remove` leaves
 * nothing of it. The program prints lines: `begun`, `stdout BASE64`, `stderr BASE64`, `exit CODE`, `none` if there is
 * no such task, `ended` if it ended without an exit code, `stopped` if its process was ended or had ended, `removed`,
 * `failed TEXT`.
 */
export const taskProgram = `$ErrorActionPreference = 'Stop'
$opsOut = New-Object IO.StreamWriter ([Console]::OpenStandardOutput()), ([Text.Encoding]::ASCII), 65536
$opsOut.NewLine = [string][char]10
$opsUtf8 = New-Object Text.UTF8Encoding $false
$opsFolder = ${taskFolder}
$opsName = 'OpsConductor ' + $OPSRUN_task
$opsQueued = 2
$opsRunning = 4
# TASK_LOGON_SERVICE_ACCOUNT, TASK_LOGON_PASSWORD.
$opsLogon = $(if ($OPSRUN_user -eq '') { 5 } else { 1 })
function OpsSay($text) {
  $opsOut.WriteLine($text)
  $opsOut.Flush()
}
function OpsPath($name) { return [IO.Path]::Combine($opsFolder, $name) }
function OpsWrite($name, $text) { [IO.File]::WriteAllText((OpsPath $name), $text, $opsUtf8) }
function OpsSid { return (New-Object Security.Principal.NTAccount $OPSRUN_user).Translate([Security.Principal.SecurityIdentifier]).Value }
function OpsTask {
  try { return $opsTasks.GetTask($opsName) } catch { return $null }
}
function OpsStart {
  if ([IO.Directory]::Exists($opsFolder)) { throw 'There is a folder of this attempt already.' }
  if ($OPSRUN_directory -ne '' -and -not [IO.Directory]::Exists($OPSRUN_directory)) { throw ($OPSRUN_directory + ' is not there.') }
  $rights = New-Object Security.AccessControl.DirectorySecurity
  $sddl = 'O:BAG:BAD:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)'
  if ($OPSRUN_user -ne '') {
    # Only to read and write the files that are made here: a user who could create or remove files, or the folder,
    # could redirect what an administrator reads and removes here.
    $sid = OpsSid
    $sddl += '(A;;0x1200a9;;;' + $sid + ')(A;OIIO;0x12019f;;;' + $sid + ')'
  }
  $rights.SetSecurityDescriptorSddlForm($sddl)
  $null = [IO.Directory]::CreateDirectory($opsFolder, $rights)
  OpsWrite 'input' $OPSRUN_input
  OpsWrite 'program' $OPSRUN_program
  OpsWrite 'directory' $OPSRUN_directory
  foreach ($name in @('stdout', 'stderr', 'pid', 'code', '${batchFiles.script}', '${batchFiles.input}')) { OpsWrite $name '' }
  $task = $opsService.NewTask(0)
  $task.RegistrationInfo.Description = 'A step of OpsConductor. It is removed when the step is over.'
  $task.Principal.UserId = $(if ($OPSRUN_user -eq '') { 'S-1-5-18' } else { $OPSRUN_user })
  $task.Principal.LogonType = $opsLogon
  $task.Principal.RunLevel = 1
  $task.Settings.DisallowStartIfOnBatteries = $false
  $task.Settings.StopIfGoingOnBatteries = $false
  $task.Settings.ExecutionTimeLimit = 'PT0S'
  $task.Settings.Priority = [int]$OPSRUN_priority
  $action = $task.Actions.Create(0)
  $action.Path = [Environment]::ExpandEnvironmentVariables('%SystemRoot%\\System32\\WindowsPowerShell\\v1.0\\powershell.exe')
  $supervisor = $OPSRUN_supervisor.Replace('OPSRUN_FOLDER', $opsFolder.Replace("'", "''"))
  $encoded = [Convert]::ToBase64String([Text.Encoding]::Unicode.GetBytes($supervisor))
  $action.Arguments = '-NoProfile -NonInteractive -EncodedCommand ' + $encoded
  # The scheduler keeps the password, for as long as the task is there.
  if ($OPSRUN_user -eq '') { $null = $opsTasks.RegisterTaskDefinition($opsName, $task, 2, 'SYSTEM', $null, $opsLogon) }
  else { $null = $opsTasks.RegisterTaskDefinition($opsName, $task, 2, $OPSRUN_user, $OPSRUN_password, $opsLogon) }
  $null = (OpsTask).Run($null)
  OpsSay 'begun'
}
function OpsRead($name, $from) {
  $path = OpsPath $name
  if (-not [IO.File]::Exists($path)) { return $null }
  $stream = New-Object IO.FileStream $path, ([IO.FileMode]'Open'), ([IO.FileAccess]'Read'), ([IO.FileShare]'ReadWrite, Delete')
  try {
    $null = $stream.Seek($from, [IO.SeekOrigin]::Begin)
    $buffer = New-Object byte[] 196608
    $got = $stream.Read($buffer, 0, $buffer.Length)
    if ($got -eq 0) { return $null }
    OpsSay ($name + ' ' + [Convert]::ToBase64String($buffer, 0, $got))
    return $got
  } finally { $stream.Dispose() }
}
# Nothing, half of a number, or anything else is not a number.
function OpsNumber($name) {
  $path = OpsPath $name
  if (-not [IO.File]::Exists($path)) { return $null }
  $stream = New-Object IO.FileStream $path, ([IO.FileMode]'Open'), ([IO.FileAccess]'Read'), ([IO.FileShare]'ReadWrite, Delete')
  try {
    $buffer = New-Object byte[] 16
    $text = [Text.Encoding]::ASCII.GetString($buffer, 0, $stream.Read($buffer, 0, $buffer.Length)).Trim()
  } finally { $stream.Dispose() }
  if ($text -match '^-?[0-9]{1,10}$') { return $text }
  return $null
}
function OpsCode {
  $code = OpsNumber 'code'
  # For a task that an earlier version has begun.
  if ($null -eq $code) { $code = OpsNumber 'exit' }
  return $code
}
function OpsFollow {
  $at = @{ stdout = [long]$OPSRUN_stdout; stderr = [long]$OPSRUN_stderr }
  $wait = 20
  $idle = 0
  while ($true) {
    if (-not [IO.Directory]::Exists($opsFolder)) { OpsSay 'none'; return }
    $code = OpsCode
    $isAny = $false
    foreach ($name in @('stdout', 'stderr')) {
      $got = OpsRead $name $at[$name]
      if ($null -ne $got) { $at[$name] += $got; $isAny = $true }
    }
    if ($isAny) { $wait = 20; $idle = 0; continue }
    if ($null -ne $code) { OpsSay ('exit ' + $code); return }
    $task = OpsTask
    if ($null -eq $task -or $task.State -ne $opsRunning) { $idle++ } else { $idle = 0 }
    # It may be about to begin, or its end may be about to be written.
    if ($idle -gt 20) { OpsSay 'ended'; return }
    Start-Sleep -Milliseconds $wait
    $wait = [Math]::Min($wait * 2, 500)
  }
}
function OpsProcess {
  $id = OpsNumber 'pid'
  if ($null -eq $id) { return $null }
  $process = Get-Process -Id ([int]$id) -ErrorAction SilentlyContinue
  if ($null -eq $process) { return $null }
  # Once it has ended, or the host has restarted, another process, which began later, may have its number.
  if ($process.StartTime.ToUniversalTime() -gt [IO.File]::GetLastWriteTimeUtc((OpsPath 'pid'))) { return $null }
  if ($OPSRUN_user -eq '') { return $id }
  # The user that the task runs as may have written any number there: end only processes of that user.
  $found = Get-WmiObject Win32_Process -Filter ('ProcessId=' + $id)
  if ($null -eq $found -or $found.GetOwnerSid().Sid -ne (OpsSid)) { return $null }
  return $id
}
function OpsStop {
  if ([IO.File]::Exists((OpsPath 'stopped'))) { OpsSay 'stopped'; return }
  $task = OpsTask
  if ($null -eq $task -and -not [IO.Directory]::Exists($opsFolder)) { OpsSay 'none'; return }
  # A task that has just been begun has no process yet, or one whose number is not written yet.
  for ($at = 0; $at -lt 50; $at++) {
    if ($null -eq $task -or ($task.State -ne $opsRunning -and $task.State -ne $opsQueued)) { break }
    if ($null -ne (OpsNumber 'pid') -or $null -ne (OpsCode)) { break }
    Start-Sleep -Milliseconds 100
    $task = OpsTask
  }
  # Looked up first, since its process may end with the task: it then counts as ended, not as missing.
  # A failure to look it up, for example if its owner can't be determined, must not prevent the stop.
  $id = $null
  try { $id = OpsProcess } catch { }
  if ($null -ne $task) { $task.Stop(0) }
  $left = OpsProcess
  if ($null -ne $left) {
    # What the command has started goes with it.
    $kill = New-Object Diagnostics.ProcessStartInfo
    $kill.FileName = [Environment]::ExpandEnvironmentVariables('%SystemRoot%\\System32\\taskkill.exe')
    $kill.Arguments = '/T /F /PID ' + $left
    $kill.UseShellExecute = $false
    $kill.CreateNoWindow = $true
    [Diagnostics.Process]::Start($kill).WaitForExit()
    if ($null -ne (OpsProcess)) { throw 'It is still there.' }
  }
  if ($null -ne $id -or $null -ne $left) {
    # Nobody else can make a file there.
    OpsWrite 'stopped' ''
  } elseif ($null -eq (OpsCode)) { throw 'Its process was not found.' }
  OpsSay 'stopped'
}
function OpsRemove {
  if ($null -ne (OpsTask)) { $opsTasks.DeleteTask($opsName, 0) }
  if ([IO.Directory]::Exists($opsFolder)) { [IO.Directory]::Delete($opsFolder, $true) }
  OpsSay 'removed'
}
try {
  $opsService = New-Object -ComObject Schedule.Service
  $opsService.Connect()
  $opsTasks = $opsService.GetFolder('\\')
  if ($OPSRUN_do -eq 'start') { OpsStart }
  if ($OPSRUN_do -eq 'stop') { OpsStop }
  elseif ($OPSRUN_do -eq 'remove') { OpsRemove }
  else { OpsFollow }
} catch {
  OpsSay ('failed ' + [Convert]::ToBase64String($opsUtf8.GetBytes($_.Exception.GetBaseException().Message)))
}
`;

/**
 * What the task itself runs: the bootstrap with its input and output in files, by way of cmd.exe, which passes bytes on
 * unchanged. The task has ended once the exit code is there.
 */
export const taskSupervisor = `$ErrorActionPreference = 'Stop'
$opsFolder = 'OPSRUN_FOLDER'
$opsStart = New-Object Diagnostics.ProcessStartInfo
$opsStart.FileName = [Environment]::ExpandEnvironmentVariables('%SystemRoot%\\System32\\cmd.exe')
$opsProgram = [IO.File]::ReadAllText([IO.Path]::Combine($opsFolder, 'program'))
$opsFiles = ' <"' + $opsFolder + '\\input" >"' + $opsFolder + '\\stdout" 2>"' + $opsFolder + '\\stderr"'
$opsStart.Arguments = '/d /s /c "' + $opsProgram + $opsFiles + '"'
$opsStart.UseShellExecute = $false
$opsStart.CreateNoWindow = $true
$opsStart.WorkingDirectory = [IO.File]::ReadAllText([IO.Path]::Combine($opsFolder, 'directory'))
if ($opsStart.WorkingDirectory -eq '') { $opsStart.WorkingDirectory = [Environment]::GetFolderPath('Windows') }
$opsCode = 1
try {
  $opsProcess = [Diagnostics.Process]::Start($opsStart)
  [IO.File]::WriteAllText([IO.Path]::Combine($opsFolder, 'pid'), [string]$opsProcess.Id)
  $opsProcess.WaitForExit()
  $opsCode = $opsProcess.ExitCode
} finally {
  [IO.File]::WriteAllText([IO.Path]::Combine($opsFolder, 'code'), [string]$opsCode)
}
`;
