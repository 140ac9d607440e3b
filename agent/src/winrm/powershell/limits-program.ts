// Limits a command on a Windows host to less than the host would give it.

/** Names of the variables that the program is given. */
export const limitsVariables = { memory: 'OPSRUN_memory', priority: 'OPSRUN_priority' } as const;

/**
 * Run by the bootstrap before the script. A priority below normal is inherited by what the script starts. Memory, in
 * MiB, is the limit of a job object to which all of that belongs; it is nested in the shell's, which takes Windows 8 or
 * newer. Add-Type compiles the code that calls it, which takes the full language mode. A host that can't enforce a
 * limit runs nothing.
 */
export const limitsProgram = `$opsSelf = [Diagnostics.Process]::GetCurrentProcess()
if ($OPSRUN_priority) { $opsSelf.PriorityClass = [Diagnostics.ProcessPriorityClass]$OPSRUN_priority }
if ($OPSRUN_memory) {
  Add-Type -Namespace OpsConductor -Name Job -MemberDefinition '
    [DllImport("kernel32.dll", SetLastError = true)]
    public static extern IntPtr CreateJobObjectW(IntPtr attributes, IntPtr name);
    [DllImport("kernel32.dll", SetLastError = true)]
    public static extern bool SetInformationJobObject(IntPtr job, int kind, byte[] information, int length);
    [DllImport("kernel32.dll", SetLastError = true)]
    public static extern bool AssignProcessToJobObject(IntPtr job, IntPtr process);'
  $opsWide = [IntPtr]::Size -eq 8
  # JOBOBJECT_EXTENDED_LIMIT_INFORMATION: the flag that says what counts, and the memory of all processes together.
  if ($opsWide) { $opsInformation = New-Object byte[] 144 } else { $opsInformation = New-Object byte[] 112 }
  [BitConverter]::GetBytes([int]0x200).CopyTo($opsInformation, 16)
  $opsBytes = [long]$OPSRUN_memory * 1048576
  if ($opsWide) { [BitConverter]::GetBytes($opsBytes).CopyTo($opsInformation, 120) }
  else { [BitConverter]::GetBytes([uint32][Math]::Min($opsBytes, [uint32]::MaxValue)).CopyTo($opsInformation, 100) }
  $opsJob = [OpsConductor.Job]::CreateJobObjectW([IntPtr]::Zero, [IntPtr]::Zero)
  $opsKept = [OpsConductor.Job]::SetInformationJobObject($opsJob, 9, $opsInformation, $opsInformation.Length)
  if (-not ($opsKept -and [OpsConductor.Job]::AssignProcessToJobObject($opsJob, $opsSelf.Handle))) {
    throw 'The command was not started: the host can not limit its memory (limits.memory_mb).'
  }
}
`;
