// The program on the host that does the work of a copy: one PowerShell process that reads requests from standard input
// and writes replies to standard output, for any number of files. Starting PowerShell takes longer than copying a file.

/**
 * One line for each request and reply, of ASCII words separated by blanks; texts are base64 of UTF-8.
 *
 *     request   NUMBER VERB ARGUMENT…
 *     answer    NUMBER ok WORD…            the end of it
 *               NUMBER more WORD…          before that, one for each entry of a list
 *               NUMBER no CODE TEXT        what went wrong
 *
 * `write` is answered only if it failed; the file can not be committed then. Windows PowerShell 5.1, .NET 4.5.
 */
export const fileServer = `$ErrorActionPreference = 'Stop'
try {
  # Paths that begin with \\\\?\\ may be longer than 260 characters; Windows PowerShell refuses them by default.
  $opsSwitches = [object].Assembly.GetType('System.AppContextSwitches')
  foreach ($opsName in @('_useLegacyPathHandling', '_blockLongPaths')) {
    $opsField = $opsSwitches.GetField($opsName, [Reflection.BindingFlags]'NonPublic, Static')
    $opsField.SetValue($null, -1)
  }
} catch { }
$opsUtf8 = New-Object Text.UTF8Encoding $false
$opsOut = New-Object IO.StreamWriter ([Console]::OpenStandardOutput()), ([Text.Encoding]::ASCII), 65536
$opsOut.NewLine = [string][char]10
$opsFiles = @{}
$opsState = @{ Last = 0 }
$opsEpoch = New-Object DateTime 1970, 1, 1, 0, 0, 0, ([DateTimeKind]::Utc)
function OpsText($word) { return $opsUtf8.GetString([Convert]::FromBase64String($word)) }
function OpsWord($text) { return [Convert]::ToBase64String($opsUtf8.GetBytes($text)) }
function OpsSeconds($time) { return [long][Math]::Floor(($time - $opsEpoch).TotalSeconds) }
function OpsIsLink($item) {
  if (-not ($item.Attributes -band [IO.FileAttributes]::ReparsePoint)) { return $false }
  if ($item -is [IO.DirectoryInfo]) { return $true }
  # Deduplicated files and the like are reparse points, but not links.
  $link = (Get-Item -LiteralPath $item.FullName -Force).LinkType
  return ($link -eq 'SymbolicLink') -or ($link -eq 'Junction')
}
function OpsEntry($item) {
  $kind = 'f'
  $size = 0
  if ($item -is [IO.DirectoryInfo]) { $kind = 'd' } else { $size = $item.Length }
  if (OpsIsLink $item) { $kind = 'l' + $kind }
  return $kind + ' ' + $size + ' ' + (OpsSeconds $item.LastWriteTimeUtc)
}
function OpsItem($path) {
  $item = New-Object IO.FileInfo $path
  if (-not $item.Exists) { $item = New-Object IO.DirectoryInfo $path }
  if (-not $item.Exists) { throw (New-Object IO.FileNotFoundException 'It is not there.') }
  return $item
}
function OpsFile($handle) {
  $file = $opsFiles[$handle]
  if ($null -eq $file) { throw (New-Object IO.IOException 'The file is not open.') }
  return $file
}
function OpsOpen($path, $mode, $access, $share) {
  $stream = New-Object IO.FileStream $path, ([IO.FileMode]$mode), ([IO.FileAccess]$access), ([IO.FileShare]$share), 65536
  $opsState.Last++
  $opsFiles[[string]$opsState.Last] = @{ Stream = $stream; Path = $path; Failed = $false }
  return $stream
}
function OpsClose($handle) {
  $file = OpsFile $handle
  $opsFiles.Remove($handle)
  $file.Stream.Dispose()
  return $file
}
function OpsHash($stream, $length) {
  $hash = New-Object Security.Cryptography.SHA256CryptoServiceProvider
  $buffer = New-Object byte[] 1048576
  $stream.Flush()
  $null = $stream.Seek(0, [IO.SeekOrigin]::Begin)
  $left = $length
  while ($left -gt 0) {
    $got = $stream.Read($buffer, 0, [int][Math]::Min($left, $buffer.Length))
    if ($got -eq 0) { throw (New-Object IO.EndOfStreamException 'The file is shorter than it was.') }
    $null = $hash.TransformBlock($buffer, 0, $got, $null, 0)
    $left -= $got
  }
  $null = $hash.TransformFinalBlock($buffer, 0, 0)
  return [BitConverter]::ToString($hash.Hash).Replace('-', '').ToLowerInvariant()
}
function OpsPlace($file, $final, $size, $seconds) {
  if ($file.Failed) { throw (New-Object IO.IOException 'A part of the file could not be written.') }
  $file.Stream.SetLength($size)
  $file.Stream.Flush($true)
  $file.Stream.Dispose()
  if ($seconds -ne '-') { [IO.File]::SetLastWriteTimeUtc($file.Path, $opsEpoch.AddSeconds([long]$seconds)) }
  if (-not [IO.File]::Exists($final)) { [IO.File]::Move($file.Path, $final); return }
  if (OpsIsLink (New-Object IO.FileInfo $final)) { throw (New-Object IO.IOException 'A link is in its place.') }
  # Keeps the rights on the file that is replaced.
  [IO.File]::Replace($file.Path, $final, [NullString]::Value, $true)
}
function OpsCode($problem) {
  if ($problem -is [UnauthorizedAccessException] -or $problem -is [Security.SecurityException]) { return 'denied' }
  if ($problem -is [IO.FileNotFoundException] -or $problem -is [IO.DirectoryNotFoundException]) { return 'missing' }
  if ($problem -is [IO.PathTooLongException]) { return 'long' }
  switch ($problem.HResult -band 0xFFFF) {
    2 { return 'missing' }
    3 { return 'missing' }
    5 { return 'denied' }
    19 { return 'denied' }
    32 { return 'locked' }
    33 { return 'locked' }
    39 { return 'full' }
    80 { return 'exists' }
    112 { return 'full' }
    183 { return 'exists' }
    206 { return 'long' }
    1295 { return 'full' }
  }
  return 'failed'
}
while ($null -ne ($opsLine = $opsIn.ReadLine())) {
  $opsWords = $opsLine.Split(' ')
  $opsNumber = $opsWords[0]
  $opsVerb = $opsWords[1]
  $opsFirst = ''
  $opsAnswer = 'ok'
  try {
    if ($opsVerb -eq 'write') {
      $opsFile = OpsFile $opsWords[2]
      try {
        $opsBytes = [Convert]::FromBase64String($opsWords[4])
        $null = $opsFile.Stream.Seek([long]$opsWords[3], [IO.SeekOrigin]::Begin)
        $opsFile.Stream.Write($opsBytes, 0, $opsBytes.Length)
      } catch { $opsFile.Failed = $true; throw }
      continue
    }
    if ($opsWords.Length -gt 2) { $opsFirst = $opsWords[2] }
    switch ($opsVerb) {
      'stat' { $opsAnswer = 'ok ' + (OpsEntry (OpsItem (OpsText $opsFirst))) }
      'list' {
        foreach ($opsItem in (New-Object IO.DirectoryInfo (OpsText $opsFirst)).EnumerateFileSystemInfos()) {
          $opsOut.WriteLine($opsNumber + ' more ' + (OpsWord $opsItem.Name) + ' ' + (OpsEntry $opsItem))
        }
      }
      'mkdir' { $null = [IO.Directory]::CreateDirectory((OpsText $opsFirst)) }
      'delete' { [IO.File]::Delete((OpsText $opsFirst)) }
      'rmdir' { [IO.Directory]::Delete((OpsText $opsFirst)) }
      'time' {
        $opsItem = OpsItem (OpsText $opsFirst)
        $opsItem.LastWriteTimeUtc = $opsEpoch.AddSeconds([long]$opsWords[3])
      }
      'free' { $opsAnswer = 'ok ' + (New-Object IO.DriveInfo (OpsText $opsFirst)).AvailableFreeSpace }
      'open' {
        $opsPath = OpsText $opsFirst
        $opsStream = OpsOpen $opsPath 'Open' 'Read' 'ReadWrite, Delete'
        $opsItem = New-Object IO.FileInfo $opsPath
        $opsAnswer = 'ok ' + $opsState.Last + ' ' + $opsStream.Length + ' ' + (OpsSeconds $opsItem.LastWriteTimeUtc)
      }
      'create' {
        $opsPath = OpsText $opsFirst
        $opsMode = 'CreateNew'
        if ($opsWords[3] -eq 'keep') {
          $opsMode = 'OpenOrCreate'
          $opsItem = New-Object IO.FileInfo $opsPath
          if ($opsItem.Exists -and (OpsIsLink $opsItem)) { throw (New-Object IO.IOException 'A link is in the place of the unfinished file.') }
        }
        $opsStream = OpsOpen $opsPath $opsMode 'ReadWrite' 'Read'
        $opsAnswer = 'ok ' + $opsState.Last + ' ' + $opsStream.Length
      }
      'read' {
        $opsFile = OpsFile $opsFirst
        $null = $opsFile.Stream.Seek([long]$opsWords[3], [IO.SeekOrigin]::Begin)
        $opsBytes = New-Object byte[] ([int]$opsWords[4])
        $opsDone = 0
        while ($opsDone -lt $opsBytes.Length) {
          $opsGot = $opsFile.Stream.Read($opsBytes, $opsDone, $opsBytes.Length - $opsDone)
          if ($opsGot -eq 0) { break }
          $opsDone += $opsGot
        }
        $opsAnswer = 'ok ' + [Convert]::ToBase64String($opsBytes, 0, $opsDone)
      }
      'hash' { $opsAnswer = 'ok ' + (OpsHash (OpsFile $opsFirst).Stream ([long]$opsWords[3])) }
      'sync' { }
      'close' { $null = OpsClose $opsFirst }
      'commit' {
        $opsFile = OpsFile $opsFirst
        OpsPlace $opsFile (OpsText $opsWords[3]) ([long]$opsWords[4]) $opsWords[5]
        $opsFiles.Remove($opsFirst)
      }
      'discard' {
        $opsFile = OpsClose $opsFirst
        if ($opsWords[3] -ne 'keep') { [IO.File]::Delete($opsFile.Path) }
      }
      default { throw (New-Object IO.IOException ('There is no ' + $opsVerb + '.')) }
    }
  } catch {
    $opsProblem = $_.Exception.GetBaseException()
    $opsAnswer = 'no ' + (OpsCode $opsProblem) + ' ' + (OpsWord $opsProblem.Message)
  }
  $opsOut.WriteLine($opsNumber + ' ' + $opsAnswer)
  $opsOut.Flush()
}
foreach ($opsFile in @($opsFiles.Values)) { $opsFile.Stream.Dispose() }
`;
