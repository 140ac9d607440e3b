// No PowerShell runs here: what is accepted, refused and sent is looked at as text. docs/substitution.md says so.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkStep, renderForPeople, renderStep } from '../index.ts';
import { scopeFor, valuesFor } from '../testing.ts';
import { readItems } from './read-items.ts';
import {
  powershellBootstrap,
  powershellEncoded,
  powershellInput,
  readableInPowershell,
} from './write-script.ts';

const T = '${{ parameters.text }}';
const B = '${{ parameters.flag }}';
const written = (text: string) =>
  text.replaceAll('«T»', T).replaceAll('«B»', B).replaceAll('«N»', '${{ parameters.count }}');
const step = (command: string, more = {}) => ({
  type: 'winrm.exec',
  config: { command: written(command), ...more },
});
const messagesOf = (command: string, more = {}) =>
  checkStep(step(command, more), scopeFor()).map(({ message }) => message);

test('the specification’s example is accepted as it stands, and its boolean stays a boolean', () => {
  const command = 'Install-WindowsUpdate -AcceptAll -AutoReboot:${{parameters.reboot_required}}';
  const scope = {
    ...scopeFor(),
    parameters: { reboot_required: { type: 'boolean', default: false } as const },
  };
  const example = { type: 'winrm.exec', config: { command, timeout: 1800 } };
  expect(checkStep(example, scope)).toEqual([]);
  const values = valuesFor({ reboot_required: true });
  expect(renderStep(example, scope, values)).toEqual({
    rendered: {
      config: { command: 'Install-WindowsUpdate -AcceptAll -AutoReboot:${OPS_1}', timeout: 1800 },
      bindings: [{ name: 'OPS_1', type: 'boolean', value: true, secret: false }],
      masked: [],
    },
  });
  expect(renderForPeople(example, scope, values).fields[0]?.text).toBe(
    'Install-WindowsUpdate -AcceptAll -AutoReboot:$true',
  );
});

test('the constant program leaves its input to itself: PowerShell reads it all for who names `$input`', () => {
  expect(powershellBootstrap).not.toMatch(/\$\{?input\b/i);
});

describe('accepted', () => {
  test.each([
    'Get-Service -Name «T»',
    'Get-Service -Name:«T» | Restart-Service -Force:«B»',
    'Write-Output "in «T», $(Get-Date) and «T»"',
    '$name = «T»; Get-Process -Name $name',
    'if («T» -eq "prod") { Stop-Service x } else { exit 3 }',
    'foreach ($x in «T», "b") { Write-Output $x }',
    '$table = @{ Name = «T»; Count = «N» }\nSet-ADUser @table',
    '$text = @"\n«T»\n"@\nSet-Content -Path C:\\a.txt -Value $text',
    'Get-ChildItem -Path «T» -Filter *.log',
    '[math]::Max(«N», 3)',
    '"x".Replace("x", «T»)',
    '& "C:\\Program Files\\tool.exe" --name «T»',
    '& "$env:ProgramFiles\\tool\\tool.exe" "--name=«T»"',
    'git.exe clone -- «T»',
    'npm.exe install «T»',
    'Start-Process setup.exe -ArgumentList "/q" -Wait\nWrite-Output «T»',
    'Get-Process | Where-Object { $_.Name -eq «T» } | Stop-Process',
    'switch («T») { "a" { 1 } default { exit 2 } }',
    "Write-Output 'it''s' # a comment's quote\nWrite-Output «T»",
    'return «T»',
    'Invoke-WebRequest -Uri "https://example.org/" -Body «T»',
    'function Say($x) { Write-Output $x }\nSay «T»',
    '$x = if («B») { "a" } else { "b" }',
    'foreach ($i in 1..«N») { Write-Output $i }',
    '$a = 1\nforeach ($i in $a..«N») { $i }',
    '$n = «T»\n$a..$n',
    '$list = «T»\n$list.Count..«N»; $i..($list.Count - 1); $(1)..[int]($list[0])',
    '$x -match [regex]::Escape(«T»)',
    '$x -replace [regex]::Escape(«T»), "b"',
    '<# it\'s "one" #> Write-Output «T»',
    '[Management.Automation.PSCredential]::new("«T»", $secure)',
    '$c = [Data.SqlClient.SqlConnection]::new("Server=«T»")\n$q = [Data.SqlClient.SqlCommand]::new("select 1 where n = @n", $c)\n$null = $q.Parameters.AddWithValue("@n", «T»)\n$a = [Data.SqlClient.SqlDataAdapter]::new($q)\n$q.ExecuteReader()',
    '$c = New-Object Data.SqlClient.SqlConnection\n$c.ConnectionString = "Server=«T»"\n$q = $c.CreateCommand()\n$null = $q.Parameters.AddWithValue("@n", «T»)\n[Data.SqlClient.SqlDataAdapter]::new($q)',
    '$x = $q = [Data.SqlClient.SqlCommand]::new()\n$null = $q.Parameters.AddWithValue("@n", «T»)\n[Data.SqlClient.SqlDataAdapter]::new($q)',
    '[Data.SqlClient.SqlCommand]$q = [Data.SqlClient.SqlCommand]::new("select @n", $c)\n$null = $q.Parameters.AddWithValue("@n", «T»)\n$r = [Data.SqlClient.SqlCommand]$q\n[Data.SqlClient.SqlDataAdapter]$a = [Data.SqlClient.SqlDataAdapter]::new($q)\n$r = $q -as [Data.SqlClient.SqlCommand]',
    'function Do-It([Data.SqlClient.SqlCommand]$q) { param([Data.SqlClient.SqlCommand]$r) Write-Output $q }\nWrite-Output «T»',
    '[string]$x = «T» -as [string]; [int][string]$y = «T»',
    '$h = @{ a = «T» }\n$h["command"] = «T»; $y = $h["command"]["a"]; $z = $h.x["command"][«N»]',
    '[Diagnostics.ProcessStartInfo]$p = [Diagnostics.ProcessStartInfo]::new("a.exe")\n$p.WorkingDirectory = «T»',
    '[regex]::IsMatch(«T», "^[a-z]+$") -and [regex]::Replace("x", [regex]::Escape(«T»), "y")',
    '"x"."Replace"("x", «T»)',
    '$xml.SelectNodes("//user") | Where-Object { $_.name -eq «T» }',
    'Set-Alias say Write-Output\nsay «T»',
    'sal -Value git.exe -Name g -Scope Script; g checkout «T»',
    'Write-Output “«T»”',
    'Get-Service `\n  -Name «T»',
    'if ($a) { tool.exe }\nwhile ($b) { 1 }\nWrite-Output «T»',
    'for (\n$i = 0\n$i -lt «N»\n$i++\n) { $i }',
    'do {\n Start-Sleep 1\n} while ((Get-Service «T»).Status -ne "Running")',
    'try { Get-Item «T» } catch [A] { exit 1 } finally { Write-Output «T» }',
    '$a = "x"\n  .Replace("x", «T»)',
    '1..«N» | ForEach-Object { $_ }; 10mb + «N»; 0x1f -band «N»',
    '[CmdletBinding()] param($x) Write-Output «T»',
    'Get-ChildItem *\nWrite-Output «T»',
  ])('%s', (command) => {
    expect(messagesOf(command)).toEqual([]);
  });
});

describe('refused', () => {
  test.each([
    ["Write-Output '⟦«T»'", 'stands in single quotes', 'Use double quotes'],
    ["@'\n⟦«T»\n'@", 'stands in single quotes', 'Use double quotes'],
    ['Write-Output ‘⟦«T»’', 'stands in single quotes', 'Use double quotes'],
    ['Get-Date # ⟦«T»', 'stands in a comment', 'Take it out'],
    ['<# ⟦«T» #>', 'stands in a comment', 'Take it out'],
    ['Write-Output `⟦«T»', 'stands after a backtick', 'Remove the backtick'],
    ['Write-Output "a`⟦«T»"', 'stands after a backtick', 'Remove the backtick'],
    ['icacls.exe --% ⟦«T»', 'stands after --%', 'Leave --% out'],
    ['Get-Item C:\\logs\\⟦«T»', 'touches other text', 'in double quotes'],
    ['Write-Output ⟦«T».log', 'touches other text', 'in double quotes'],
    ['⟦«T» = 5', 'something is assigned to it', 'a variable of your own'],
    ['& ⟦«T»', 'decides which command runs', 'Name the commands yourself'],
    ['. ⟦«T»', 'decides which command runs', 'Name the commands yourself'],
    ['& "C:\\⟦«T»\\x.exe"', 'decides which command runs', 'Name the commands yourself'],
    ['$c = «T»; & ⟦$c', 'decides which command runs', 'Name the commands yourself'],
    ['& $tool ⟦«T»', 'a command that is only known when the script runs', 'Write the name of the command'],
    ['$x.⟦«T»', 'decides which method', 'Write its name itself'],
    ['$x."⟦«T»"()', 'decides which method', 'Write its name itself'],
    ['[math]::⟦«T»', 'decides which method', 'Write its name itself'],
    ['[⟦«T»]::new()', 'where a type is named', 'Write the type itself'],
    ['$x -as ⟦«T»', 'where a type is named', 'Write the type itself'],
    ['Invoke-Expression ⟦«T»', 'argument of Invoke-Expression', 'Write the command itself'],
    ['iex "Get-Item ⟦«T»"', 'argument of iex', 'Write the command itself'],
    ['⟦«T» | iex', 'goes into the input of iex', 'Write the command itself'],
    ['$x = "Get-Item «T»"\niex ⟦$x', 'argument of iex', 'Write the command itself'],
    ['$x = "a"\n$x += «T»\nInvoke-Expression -Command ⟦$x', 'argument of Invoke-Expression', ''],
    ['$a = $b = "Get-Item «T»"\niex ⟦$b', 'argument of iex', ''],
    ['$a = $b = "Get-Item «T»"\niex ⟦$a', 'argument of iex', ''],
    ['$a = $x.Name = $b += $y["n"] = «T»\niex ⟦$b', 'argument of iex', ''],
    ['$a = [Some.Type]::Name = "Get-Item «T»"\niex ⟦$a', 'argument of iex', ''],
    ['foreach ($x in «T») { iex ⟦$x }', 'argument of iex', ''],
    ['«T» | ForEach-Object { iex ⟦$_ }', 'argument of iex', ''],
    ['function Go($x) { iex ⟦$x }\nGo «T»', 'argument of iex', ''],
    ['function Give { «T» }\niex (⟦Give)', 'argument of iex', ''],
    ['$x = if ($y) { 1 }\n\nelse { «T» }\niex ⟦$x', 'argument of iex', ''],
    ['Write-Output «T» -OutVariable out\niex ⟦$out', 'argument of iex', ''],
    ['$h = @{ a = «T» }\niex ⟦$h.a', 'argument of iex', ''],
    ['$a, $b = 1, «T"»\niex ⟦$b'.replace('«T"»', '«T»'), 'argument of iex', ''],
    // A redirection, and an argument that looks like an operator, end with their line.
    ['tool.exe /a 2>&1\niex ⟦«T»', 'argument of iex', ''],
    ['$out = tool.exe *>&1\ncmd /c ⟦«T»', 'argument of cmd', ''],
    ['Get-Item =\niex ⟦«T»', 'argument of iex', ''],
    ['$x = Get-Item $y = $z =\niex ⟦«T»', 'argument of iex', ''],
    ['Get-Item a | Sort-Object +=\niex ⟦«T»', 'argument of iex', ''],
    // Commands by their path or with a name that is none of our words, after which an operator is an argument too.
    ['.\\tool.exe *\niex ⟦«T»', 'argument of iex', ''],
    ['$out = ..\\tool.exe a %\niex ⟦«T»', 'argument of iex', ''],
    ['\\\\server\\share\\tool.exe =\ncmd /c ⟦«T»', 'argument of cmd', ''],
    ['/opt/tool -f\niex ⟦«T»', 'argument of iex', ''],
    ['7z.exe a *\niex ⟦«T»', 'argument of iex', ''],
    ['2\\tool *\niex ⟦«T»', 'argument of iex', ''],
    ['größe *\niex ⟦«T»', 'argument of iex', ''],
    ['-Name *\niex ⟦«T»', 'argument of iex', ''],
    // An expression goes on after an operator.
    ...[
      '2 *',
      '-1.5e3 *',
      '0x1F -bor',
      '1..',
      '1,2+',
      '-not $a -or',
      '- $a *',
      '!$a -or',
      '-join $a +',
      '-split',
    ].map((begin) => [`$x = ${begin}\n«T»\niex ⟦$x`, 'argument of iex', ''] as [string, string, string]),
    ['7z a x.zip *\niex ⟦«T»', 'argument of iex', ''],
    ['.\\tool.exe -f\ncmd /c ⟦«T»', 'argument of cmd', ''],
    // Another statement can follow a block on its line.
    [':each foreach ($i in 1) { } iex ⟦«T»', 'argument of iex', ''],
    ['$x = if ($y) { 1 } else { 2 } iex ⟦«T»', 'argument of iex', ''],
    ['$x = try { 1 } catch [A] { 2 } finally { } iex ⟦«T»', 'argument of iex', ''],
    ['return if ($x) { 1 } iex ⟦«T»', 'argument of iex', ''],
    ['do { 1 } while ($x) iex ⟦«T»', 'argument of iex', ''],
    ['$x = do { 1 } until ($y) cmd /c ⟦«T»', 'argument of cmd', ''],
    ['[CmdletBinding()] param($x) iex ⟦«T»', 'argument of iex', ''],
    ['configuration A { } iex ⟦«T»', 'argument of iex', ''],
    ['iex = if ($x) { 1 } ⟦«T»', 'argument of iex', ''],
    ['$env:PATH = if ($x) { "a" } else { "⟦«T»" }', 'would set what tells PowerShell', ''],
    // A line begins a statement, unless what it begins with belongs to the one before.
    ['Get-Date\nwhile ($x) { break } iex ⟦«T»', 'argument of iex', ''],
    ['Get-Date\n.iex ⟦«T»', 'not known to be safe', ''],
    ['for (Get-Date\niex ⟦«T»\n1) { break }', 'argument of iex', ''],
    ['2>&1 iex ⟦«T»', 'not known to be safe', ''],
    ['tool.exe --% a && iex ⟦«T»', 'argument of iex', ''],
    ['tool.exe --% "a|b"\niex ⟦«T» # 5" wide', 'argument of iex', ''],
    ['$x –match ⟦«T»', 'is taken for a pattern', ''],
    ['⟦«T» –as [scriptblock]', 'is made code', ''],
    ['Set-Item -Path:variable:x «T»; iex ⟦$x', 'argument of iex', ''],
    ['Set-Item env:PATH ⟦«T»', 'would set what tells PowerShell', 'a name of your own'],
    ['powershell -Command "Get-Item ⟦«T»"', 'argument of powershell', 'Write its commands here'],
    ['powershell.exe -EncodedCommand ⟦«T»', 'argument of powershell.exe', 'Write its commands here'],
    ['pwsh -c ⟦«T»', 'argument of pwsh', 'Write its commands here'],
    ['cmd /c "echo ⟦«T»"', 'argument of cmd', 'Call the program itself'],
    ['& cmd.exe /c ⟦«T»', 'argument of cmd.exe', 'Call the program itself'],
    ['C:\\Windows\\System32\\cmd.exe /c ⟦«T»', 'argument of', 'Call the program itself'],
    ['Start-Process a.exe -ArgumentList "⟦«T»"', 'argument of Start-Process', 'Call the program itself'],
    [
      'Invoke-Command -ComputerName x { Get-Item ⟦«T» }',
      'argument of Invoke-Command',
      'Make that host a target',
    ],
    ['icm -ScriptBlock ([scriptblock]::Create(⟦«T»))', 'argument of', ''],
    ['[scriptblock]::Create("Get-Item ⟦«T»")', 'argument of .create(…)', 'Write what is to be run'],
    ['$ExecutionContext.InvokeCommand.ExpandString(⟦«T»)', 'argument of .expandstring(…)', ''],
    ['[Diagnostics.Process]::Start("a.exe", ⟦«T»)', 'argument of .start(…)', ''],
    ['Add-Type -TypeDefinition "⟦«T»"', 'argument of Add-Type', 'Name what is to be loaded'],
    ['New-Object ⟦«T»', 'argument of New-Object', '::new('],
    ['Set-Alias x ⟦«T»', 'argument of Set-Alias', ''],
    [
      'Invoke-CimMethod Win32_Process -MethodName Create -Arguments @{ CommandLine = ⟦«T» }',
      'Invoke-CimMethod',
      '',
    ],
    ['Register-ScheduledTask x -Action ⟦«T»', 'argument of Register-ScheduledTask', ''],
    ['Invoke-Whatever ⟦«T»', 'may run it', ''],
    ['wmic process call create "⟦«T»"', 'argument of wmic', 'environment'],
    ['python -c "print(⟦«T»)"', 'argument of python', 'environment'],
    ['ForEach-Object ⟦«T»', 'decides which method', ''],
    ['Get-CimInstance Win32_Service -Filter "Name=\'⟦«T»\'"', 'in a filter or a query', 'Where-Object'],
    ['$x = «T»\ngit.exe checkout ⟦$x', 'goes to a program', 'Write the placeholder itself'],
    ['⟦«T»', 'would only be printed', 'To print it: Write-Output'],
    ['⟦«T» -Force', 'decides which command runs', 'Name the commands yourself'],
    ['if ($x) { 1 } iex ⟦«T»', 'argument of iex', 'Write the command itself'],
    ['if ($x) { 1 } else { 2 } cmd /c = ⟦«T»', 'argument of cmd', 'Call the program itself'],
    ['$x = cmd /c = ⟦«T»', 'argument of cmd', 'Call the program itself'],
    ['cmd /c = ⟦«T»', 'argument of cmd', 'Call the program itself'],
    ['param($x) iex ⟦«T»', 'argument of iex', ''],
    ['Get-Date & iex ⟦«T»', 'argument of iex', ''],
    ['$r = & "iex" ⟦«T»', 'argument of iex', ''],
    ['return iex ⟦«T»', 'argument of iex', ''],
    ['Get-Item -eq\niex ⟦«T»', 'argument of iex', ''],
    ['& iex \n. cmd ⟦«T»', 'argument of cmd', ''],
    ['Get-Item \n. iex ⟦«T»', 'argument of iex', ''],
    ['gi -eq\niex ⟦«T»', 'argument of iex', ''],
    ['& $tool -eq\niex ⟦«T»', 'argument of iex', ''],
    ['return gi -join\niex ⟦«T»', 'argument of iex', ''],
    ['gi | %\niex ⟦«T»', 'argument of iex', ''],
    ['$x = "a" -join\n«T»\niex ⟦$x', 'argument of iex', ''],
    ['iex (\n"a" +\n⟦«T»\n)', 'argument of iex', ''],
    ['@{ a = iex ⟦«T» }', 'argument of iex', ''],
    ['@{ a = & cmd /c echo = ⟦«T» }', 'argument of cmd', ''],
    ['@{ a = & iex += ⟦«T» }', 'argument of iex', ''],
    ['@{ a = 1 | cmd /c echo = ⟦«T» }', 'argument of cmd', ''],
    ['$env:PATH = "⟦«T»"', 'would set what tells PowerShell', 'a name of your own'],
    ['$function:prompt = ⟦«T»', 'would set what tells PowerShell', ''],
    ['Set-Content function:prompt ⟦«T»', 'would set what tells PowerShell', ''],
    ['$c.CommandText = "select ⟦«T»"', 'a property that is run', 'as a parameter of it'],
    ['[scriptblock] ⟦«T»', 'is made code', 'Leave out the type'],
    ['$x -match ⟦«T»', 'is taken for a pattern', '[regex]::Escape('],
    ['$x -creplace "a⟦«T»", "b"', 'is taken for a pattern', '[regex]::Escape('],
    ['$x -replace "a", ⟦«T»', 'is taken for a pattern', ''],
    ['Get-CimInstance Win32_Service -Fil "Name=⟦«T»"', 'in a filter or a query', ''],
    ['Get-WinEvent –FilterXPath "*[⟦«T»]"', 'in a filter or a query', ''],
    ['using module ⟦«T»', 'where code is named', 'Write the name itself'],
    ['function ⟦«T» { 1 }', 'where code is named', ''],
    ['$list = @()\n$list.Add(«T»)\niex ⟦$list[0]', 'argument of iex', ''],
    ['if («T» -match "(.*)") { iex ⟦$Matches[1] }', 'argument of iex', ''],
    ['& { param($x) iex ⟦$x } «T»', 'argument of iex', ''],
    [
      '[System.Data.SqlClient.SqlCommand]::new("select * from t where n = \'⟦«T»\'", $c)',
      'argument of [System.Data.SqlClient.SqlCommand]::new(…)',
      '.Parameters.AddWithValue(',
    ],
    ['[Data.SqlClient.SqlDataAdapter]::new("… \'⟦«T»\'", $c)', 'a query or a command line', ''],
    ['$s = [System.DirectoryServices.DirectorySearcher]::new("(cn=⟦«T»)")', 'a query or a command line', ''],
    ['[DirectoryServices.DirectoryEntry]::new("LDAP://⟦«T»")', 'a query or a command line', ''],
    [
      '[System.Management.ManagementObjectSearcher]::new("select * from x where Name=\'⟦«T»\'").Get()',
      'a query or a command line',
      'Where-Object',
    ],
    ['[Management.SelectQuery]::new("Win32_Service", "Name=\'⟦«T»\'")', 'a query or a command line', ''],
    ['[wmi]::new("x=\'⟦«T»\'")', 'a query or a command line', ''],
    ['[Diagnostics.ProcessStartInfo]::new("a.exe", "⟦«T»")', 'a query or a command line', ''],
    ['$q = "select «T»"\n[Data.SqlClient.SqlCommand]::new(⟦$q, $c)', 'a query or a command line', ''],
    [
      '$q = [Data.SqlClient.SqlCommand]::new()\n$q = "«T»"\n[Data.SqlClient.SqlCommand]::new(⟦$q)',
      'a query or a command line',
      '',
    ],
    [
      '$q = [Data.SqlClient.SqlCommand]::new()\n$x = $q = "select «T»"\n[Data.SqlClient.SqlCommand]::new(⟦$q)',
      'a query or a command line',
      '',
    ],
    [
      '$c = [Data.SqlClient.SqlConnection]::new("Server=«T»")\n[Data.SqlClient.SqlCommand]::new(⟦$c.ConnectionString)',
      'a query or a command line',
      '',
    ],
    ['[System.Data.SqlClient.SqlCommand] "select ⟦«T»"', 'is made code', ''],
    [
      '$q = "select … \'«T»\'"\n$c = [Data.SqlClient.SqlCommand]⟦$q',
      'is made code, a query or a type by the type that stands with it',
      'Leave out the type',
    ],
    ['[Data.SqlClient.SqlCommand]$c = "select ⟦«T»"', 'is made code', ''],
    ['[ValidateNotNull()][Data.SqlClient.SqlCommand]$c = $d = "select ⟦«T»"', 'is made code', ''],
    ['[Data.SqlClient.SqlCommand]⟦$c = $null\n$c = "select «T»"', 'is made code', ''],
    ['"select ⟦«T»" -as [Data.SqlClient.SqlCommand]', 'is made code', ''],
    ['("a" + ⟦«T») -as [string] -AS "scriptblock"', 'is made code', ''],
    ['$t = [scriptblock]\n⟦«T» -as $t', 'is made code', ''],
    ['foreach ($x in «T») { ⟦$x -as [Data.SqlClient.SqlCommand] }', 'is made code', ''],
    ['[scriptblock][string] ⟦«T»', 'is made code', ''],
    ['[string][scriptblock] "Get-Item ⟦«T»"', 'is made code', ''],
    ['[scriptblock]-join ("Get-Item ", ⟦«T»)', 'is made code', ''],
    ['[scriptblock]$x.Replace("a", ⟦«T»).Trim()', 'is made code', ''],
    ['[Data.SqlClient.SqlCommand]$x["a"]."Replace"("a", ⟦«T»)', 'is made code', ''],
    ['[Diagnostics.ProcessStartInfo] @{ FileName = "a"; Arguments = "⟦«T»" }', 'is made code', ''],
    [
      '$t = [scriptblock]\n$t::new("⟦«T»")',
      'a type that is only known when the script runs',
      'Write the type',
    ],
    ['$adodb.Execute("delete from t where n=\'⟦«T»\'")', 'argument of .execute(…)', ''],
    ['[scriptblock]::"Create"("Get-Item ⟦«T»")', 'argument of .create(…)', 'Write what is to be run'],
    ['$adodb.Connection."Exe`cute"("⟦«T»")', 'argument of .execute(…)', ''],
    ['[Data.SqlClient.SqlCommand]::\'new\'("⟦«T»")', 'which makes a query', ''],
    ['$x.$m("⟦«T»")', 'a method that is only known when the script runs', 'Write the name of the method'],
    ['$x.("Exe" + "cute")("⟦«T»")', 'a method that is only known when the script runs', ''],
    ['$x.Connection."⟦«T»"()', 'decides which method', 'Write its name itself'],
    ['$list = @()\n$list."Add"(«T»)\niex ⟦$list[0]', 'argument of iex', ''],
    ['$xml.SelectNodes("//user[@name=\'⟦«T»\']")', 'in a filter or a query', 'Where-Object'],
    ['$x = "//a[«T»]"\n$xml.SelectSingleNode(⟦$x).InnerText', 'in a filter or a query', ''],
    ['[regex]::IsMatch($x, "^⟦«T»$")', 'is taken for a pattern', '[regex]::Escape('],
    ['[Text.RegularExpressions.Regex]::"Match"($x, ⟦«T»)', 'is taken for a pattern', ''],
    ['[regex]::Replace($x, "a", ⟦«T»)', 'is taken for a pattern', ''],
    ['[regex]::new(⟦«T»)', 'is taken for a pattern', ''],
    ['$a..[wmi]"x=⟦«T»"', 'is made code, a query or a type', ''],
    ['$wmi.ExecQuery("select ⟦«T»")', 'argument of .execquery(…)', ''],
    [
      'Set-Alias run Invoke-Expression; run "⟦«T»"',
      'argument of run, which runs it',
      'Write the command itself',
    ],
    ['Set-Alias run Invoke-Expression; «T» | ForEach-Object { run ⟦$_ }', 'argument of run', ''],
    ['nal -Value:cmd -Name "Run"\nrun /c "⟦«T»"', 'argument of run, which reads it', ''],
    ['Set-Alias -Force run $tool\nrun ⟦«T»', 'a command that is only known when the script runs', ''],
    ['Set-Alias x Write-Output; Set-Alias x iex\nx ⟦«T»', 'only known when the script runs', ''],
    ['Set-Alias q Get-CimInstance\nq x -Filter "Name=\'⟦«T»\'"', 'in a filter or a query', ''],
    ['= ⟦«T»', 'not known to be safe', ''],
    ['Write-Output ⟦${{ parameters.list }}', 'is a list or an object', 'ConvertFrom-Json'],
  ])('%s', (marked, why, fix) => {
    const text = written(marked);
    const before = text.slice(0, text.indexOf('⟦'));
    const place = `Line ${before.split('\n').length}, column ${[...before.slice(before.lastIndexOf('\n') + 1)].length + 1}: `;
    const messages = messagesOf(marked.replace('⟦', ''));
    const message = messages.find((each) => each.startsWith(place));
    expect(message ?? messages).toContain(why);
    expect(message).toContain(fix);
  });

  test('scripts that can’t be parsed, with the place', () => {
    for (const [command, why] of [
      [
        'Write-Output «T» "',
        "Line 1, column 37: The script can't be read from here on (a double quote is not closed)",
      ],
      ['if («T» { }', "Line 1, column 4: The script can't be read from here on (( is not closed)"],
      ['Write-Output «T» }', '} closes nothing'],
      // Some take the text as an argument of iex.
      ['iex `\n\n"«T»"', "can't be read from here on (a ` goes on with an empty line)"],
      ['Write-Output $x#«T»', 'may be text or a comment'],
      ['Get-Date\riex «T»', 'a line ends with a carriage return or U+0085 alone'],
      ['`u{69}ex «T»', 'a `u{ stands outside of quotes'],
      ['${a`}b} = «T»; iex ${a`}b}', 'a variable has an odd name'],
    ] as const) {
      expect(messagesOf(command)[0]).toContain(why);
    }
  });

  test('the environment of the step in places where its text would run', () => {
    const more = { environment: { name: T } };
    expect(messagesOf('Get-Item $env:NAME', more)).toEqual([]);
    expect(messagesOf('iex $env:NAME', more)[0]).toContain(
      'which may hold the value of ${{ parameters.text }}',
    );
    expect(messagesOf('& "$env:NAME"', more)[0]).toContain('decides which command runs');
  });
});

test('values that a program would misread are refused at the run, but accepted for cmdlets', () => {
  const render = (command: string, text: string, parameter = {}) =>
    renderStep(step(command), scopeFor(parameter), valuesFor({ text }));
  const hostile = ['a"b', 'a\\', '', '/c', '-rf', 'a&b', 'a%PATH%b', "a'b", 'a\nb', '$(x)', '日本'];
  const refusedBy = (command: string) =>
    hostile.filter((text) => render(command, text).rendered === undefined);
  expect(refusedBy('Get-Item -Name «T»')).toEqual([]);
  expect(refusedBy('tool.exe «T»')).toEqual(['a"b', 'a\\', '', '/c', '-rf']);
  expect(refusedBy('tool «T»')).toEqual(['a"b', 'a\\', '', '/c', '-rf', 'a&b', 'a%PATH%b', 'a\nb', '$(x)']);
  // Some names begin with a digit.
  expect(refusedBy('7z.exe x «T»')).toEqual(refusedBy('tool.exe «T»'));
  expect(refusedBy('tool.exe "--name=«T»"')).toEqual(['a"b', 'a\\', '']);
  expect(render('tool.exe «T»', '/c', { allow_leading_dash: true })).toHaveProperty('rendered');
  expect(render('tool.exe «T»', '/c')).toMatchObject({
    problems: [{ message: expect.stringContaining('begins with a slash') }],
  });
  expect(render('Set-Content -Path «T» -Value x', 'function:prompt')).toMatchObject({
    problems: [{ message: expect.stringContaining('names a function or a variable of PowerShell') }],
  });
});

test('what is sent is ASCII, whatever the values, and contains each of them completely', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }), (value, script) => {
      fc.pre(value.isWellFormed() && script.isWellFormed());
      const sent = powershellInput(script, [{ name: 'OPS_1', type: 'string', value, secret: false }]);
      const [count, name, type, text, source, end, last] = sent.split('\n');
      expect([count, name, type, end, last]).toEqual(['1', 'OPS_1', 'string', 'end', '']);
      expect(Buffer.from(text ?? '', 'base64').toString()).toBe(value);
      expect(Buffer.from(source ?? '', 'base64').toString()).toBe(script);
      expect(sent).toMatch(/^[\w+/=\n]*$/);
    }),
  );
  expect(Buffer.from(powershellEncoded('a“b'), 'base64').toString('utf16le')).toBe('a“b');
  // A Windows command line has at most 8,191 characters.
  expect(powershellEncoded(powershellBootstrap).length).toBeLessThan(6_000);
  expect(() => readItems(powershellBootstrap)).not.toThrow();
});

test('a value that is shown stays inside its quotes, and can’t end them', () => {
  const shown = readableInPowershell("it's ‘so’", { as: 'word', mayBeOption: false });
  expect(shown).toBe("'it''s ‘‘so’’'");
  expect(readableInPowershell('a"$b`c”', { as: 'quoted', mayBeOption: false })).toBe('a`"`$b``c`”');
});

test('a large PowerShell script is parsed once', () => {
  for (const text of [
    '(',
    '{',
    '"$(',
    '$x = $y\n',
    '@{a=',
    '\n',
    'iex «T» | ',
    '"',
    '`',
    '[',
    '#\n',
    'a.b(',
    '[a.command]::new(',
    'sal ',
    '$a,',
    '$a=',
    '$a."b"(',
    '[regex]::match(«T»,',
    '[wmi]',
    '[wmi]-',
    '[wmi]a',
    '[wmi](a)',
    '$a -as [wmi] ',
    '$a -as [wmi],',
    '[wmi]$a.b',
    'if(1){}',
    '$a=if(1){}else{}',
    'do{}while(1)',
    ':a ',
    '\n.a()',
    '1 +\n',
    '\nwhile(1){}',
  ]) {
    const command = written(`Write-Output «T»\n${text.repeat(Math.floor(100_000 / text.length))}`);
    checkStep({ type: 'winrm.exec', config: { command } }, scopeFor());
  }
});
