// Tries everything that steps rely on against a host, and reports each result. Meant for hosts that nobody has tried
// before: it changes nothing there except for a temporary folder, a file and a scheduled task, all of which it removes.
import { createHash, randomBytes } from 'node:crypto';
import { type Binding, powershellInput, timeLimit } from '@opsconductor/protocol';
import { type CommandEnd, runCommand } from '../commands/run-command.ts';
import type { ConnectionSource } from '../connection/pool.ts';
import { FileRefused, FileSession, wordOf } from '../files/file-session.ts';
import { ClixmlDecoder } from '../powershell/clixml.ts';
import { type Script, scriptCommand } from '../powershell/script-command.ts';
import { removeTask, runTask } from '../tasks/task-command.ts';
import { WinrmError } from '../winrm-error.ts';
import { askVersion, identify } from './test-host.ts';

export interface Verified {
  what: string;
  ok: boolean;
  /** What was seen; the evidence if something is not as it should be. */
  found: string;
  /** Set if `found` is of interest even if all is well. */
  isNews?: true;
}

const text = 'ä€𝄞 "quoted" \'single\' %PATH% !x! $HOME `tick` <&> ';
const value: Binding = { name: 'OPSVERIFY_1', type: 'string', value: text, secret: false };
const lines = 20_000;
const taskMs = 120_000;
/** Limit for every other trial: a host that never replies is reported, too. */
const defaultLimitMs = 60_000;

interface Ran {
  stdout: string;
  stderr: string;
  code: number | undefined;
}

interface Trial extends Partial<Script> {
  what: string;
  text: string;
  isGood(ran: Ran): boolean;
}

const exits = (code: number) => (ran: Ran) => ran.code === code;
const prints = (expected: string) => (ran: Ran) =>
  ran.code === 0 && ran.stdout.trimEnd() === expected.trimEnd() && ran.stderr === '';

/** Scripts and what they must result in. Exported for tests, whose host is not Windows. */
export const trials: readonly Trial[] = [
  {
    what: 'a value arrives as it is',
    text: 'Write-Output $OPSVERIFY_1',
    bindings: [value],
    isGood: prints(text),
  },
  {
    what: 'a long script of many characters arrives whole',
    text: `${`# ${'ä€𝄞 '.repeat(20)}\n`.repeat(400)}Write-Output 'ä€𝄞'`,
    isGood: prints('ä€𝄞'),
  },
  { what: 'exit code 0', text: '$null', isGood: exits(0) },
  { what: 'exit code 7', text: 'exit 7', isGood: exits(7) },
  { what: 'exit code -1', text: 'exit -1', isGood: exits(-1) },
  {
    what: 'the exit code of a program',
    text: '& "$env:SystemRoot\\System32\\cmd.exe" /c exit 3010',
    isGood: exits(3010),
  },
  {
    what: 'the exit code of a program that crashed',
    text: '& "$env:SystemRoot\\System32\\cmd.exe" /c exit -1073741819',
    isGood: exits(-1_073_741_819),
  },
  {
    what: 'an error that ends a script is reported as text',
    text: "throw 'it went wrong'",
    isGood: ({ code, stderr }) =>
      code === 1 &&
      stderr.includes('it went wrong') &&
      !stderr.includes('CLIXML') &&
      !stderr.includes('_x000'),
  },
  {
    what: 'warnings, errors and what programs write to standard error are all reported as text',
    text: `Write-Warning 'it is hot'
Write-Error 'it is bad'
& "$env:SystemRoot\\System32\\cmd.exe" /c 'echo of a program 1>&2'
Write-Error 'it is worse'
Start-Sleep -Seconds 3
exit 0`,
    isGood: ({ code, stderr }) =>
      code === 0 &&
      ['WARNING: it is hot', 'it is bad', 'of a program', 'it is worse'].every((each) =>
        stderr.includes(each),
      ) &&
      !stderr.includes('CLIXML') &&
      !stderr.includes('</'),
  },
  {
    what: 'the environment is there',
    text: 'Write-Output $env:OPSVERIFY',
    environment: { OPSVERIFY: text },
    isGood: prints(text),
  },
  {
    what: 'a batch file runs, and its exit code is reported',
    text: 'echo %OPSVERIFY%\r\nexit /b 5',
    shell: 'cmd',
    environment: { OPSVERIFY: 'ä€ of cmd' },
    isGood: ({ code, stdout }) => code === 5 && stdout.trim() === 'ä€ of cmd',
  },
  {
    what: `${lines} lines of output arrive`,
    text: `1..${lines} | ForEach-Object { "line $_" }`,
    isGood: ({ code, stdout }) =>
      code === 0 &&
      stdout
        .trimEnd()
        .split(/\r?\n/)
        .every((line, at) => line === `line ${at + 1}`),
  },
];
/** The script of the trial that is stopped. */
export const endless = "Write-Output 'begun'; Start-Sleep -Seconds 600";

/** Runs the trials one after the other. If one makes the rest pointless, nothing follows it. */
export async function* verifyHost(
  connections: ConnectionSource,
  { limitMs = defaultLimitMs }: { limitMs?: number } = {},
): AsyncGenerator<Verified> {
  const first = [
    { what: 'the host is reached, and the login works', ask: identify },
    { what: 'it makes a shell, and PowerShell reads what it is given', ask: askVersion },
  ];
  for (const { what, ask } of first) {
    const answer = await asked(what, limitMs, (signal) => ask(connections, signal));
    yield answer;
    if (!answer.ok) return;
  }
  for (const trial of trials) yield await verify(connections, trial, limitMs);
  yield await verifyStop(connections, limitMs);
  yield await verifyFiles(connections, limitMs);
  yield await verifyTask(connections);
}

async function asked(
  what: string,
  limitMs: number,
  ask: (signal: AbortSignal) => Promise<string>,
): Promise<Verified> {
  const limit = AbortSignal.timeout(limitMs);
  try {
    return { what, ok: true, found: await ask(limit), isNews: true };
  } catch (error) {
    if (error instanceof WinrmError) return { what, ok: false, found: `${error.message} ${error.advice}` };
    if (!limit.aborted) throw error;
    return { what, ok: false, found: `${late(limitMs)}.` };
  }
}

function late(limitMs: number): string {
  return `It did not end within ${limitMs / 1_000} s`;
}

async function verify(connections: ConnectionSource, trial: Trial, limitMs: number): Promise<Verified> {
  const { what, isGood } = trial;
  const ran = await run(connections, trial, AbortSignal.timeout(limitMs));
  const { end, stdout, stderr, stderrBeforeEndMs } = ran;
  if (typeof end === 'string') return { what, ok: false, found: end };
  if (end.how === 'stopped') {
    const soFar = `stdout ${shortened(stdout)}, stderr ${shortened(stderr)}`;
    return { what, ok: false, found: `${late(limitMs)}; until then: ${soFar}` };
  }
  const code = end.how === 'exited' ? end.exitCode : undefined;
  const shown = `exit code ${code ?? 'unknown'}, stdout ${shortened(stdout)}, stderr ${shortened(stderr)}${stderrBeforeEndMs === undefined ? '' : `, of which the first came ${stderrBeforeEndMs} ms before the end`}`;
  return { what, ok: end.how === 'exited' && isGood({ stdout, stderr, code }), found: shown };
}

async function verifyStop(connections: ConnectionSource, limitMs: number): Promise<Verified> {
  const what = 'a command that is stopped is ended, and the host says so';
  const stop = new AbortController();
  let stoppedAtMs: number | undefined;
  const signal = AbortSignal.any([stop.signal, timeLimit(limitMs)]);
  const { end } = await run(connections, { text: endless }, signal, () => {
    stoppedAtMs ??= performance.now();
    stop.abort(new Error('stopped'));
  });
  if (typeof end === 'string') return { what, ok: false, found: end };
  if (end.how !== 'stopped') return { what, ok: false, found: end.how };
  if (stoppedAtMs === undefined)
    return { what, ok: false, found: `Nothing was printed within ${limitMs / 1_000} s` };
  if (!end.confirmed) return { what, ok: false, found: end.why ?? 'not confirmed' };
  // Where a command's input is a pipe, it is not known which of the two Windows does.
  const how =
    end.onCtrlC === true
      ? `by Ctrl+C, with exit code ${end.exitCode ?? 'unknown'}`
      : 'with its shell, not by Ctrl+C';
  return {
    what,
    ok: true,
    found: `${how}, after ${Math.round(performance.now() - stoppedAtMs)} ms`,
    isNews: true,
  };
}

/** Copies a file there, compares it, copies it back and removes it. */
async function verifyFiles(connections: ConnectionSource, limitMs: number): Promise<Verified> {
  const what = 'a file is copied there and back, and removed';
  const content = randomBytes(300_000);
  const folder = 'C:\\Windows\\Temp\\';
  const final = wordOf(`${folder}opsconductor verify [1] ${randomBytes(8).toString('hex')}.bin`);
  let session: FileSession | undefined;
  const limit = AbortSignal.timeout(limitMs);
  try {
    session = await FileSession.open({ connections, signal: limit });
    const opened = session;
    limit.addEventListener('abort', () => void opened.close());
    const temporary = wordOf(`${folder}.opsconductor-${randomBytes(8).toString('hex')}`);
    const [handle = ''] = await session.ask('create', temporary, 'new');
    await session.write(handle, 0, content);
    const [sha256] = await session.ask('hash', handle, String(content.length));
    await session.ask('commit', handle, final, String(content.length), '-');
    const [again = ''] = await session.ask('open', final);
    const [data = ''] = await session.ask('read', again, '0', String(content.length));
    await session.ask('close', again);
    await session.ask('delete', final);
    const isSame = Buffer.from(data, 'base64').equals(content);
    const isHashed = sha256 === createHash('sha256').update(content).digest('hex');
    if (!isSame) return { what, ok: false, found: 'other bytes came back' };
    return { what, ok: isHashed, found: isHashed ? 'the same bytes' : 'a different SHA-256' };
  } catch (error) {
    if (error instanceof WinrmError || error instanceof FileRefused)
      return { what, ok: false, found: error.message };
    if (!limit.aborted) throw error;
    return { what, ok: false, found: `${late(limitMs)}.` };
  } finally {
    await session?.close();
  }
}

/** The script that runs as the system. Exported for tests. */
export const whoAmI = '[Security.Principal.WindowsIdentity]::GetCurrent().User.Value';
const systemSid = 'S-1-5-18';

async function verifyTask(connections: ConnectionSource): Promise<Verified> {
  const what = 'a script runs as the system, and its task is removed';
  const name = `verify-${randomBytes(12).toString('hex')}`;
  const taken = { stdout: 0, stderr: 0 };
  let printed = '';
  try {
    const end = await runTask({
      connections,
      name,
      user: undefined,
      start: {
        shell: 'powershell',
        input: powershellInput(whoAmI, []),
        workingDirectory: undefined,
        priority: 7,
      },
      taken: () => taken,
      onOutput: (stream, bytes) => {
        taken[stream] += bytes.length;
        printed += bytes.toString('utf8');
      },
      signal: AbortSignal.timeout(taskMs),
    });
    await removeTask(connections, name);
    return { what, ok: end.how === 'exited' && printed.trim() === systemSid, found: shortened(printed) };
  } catch (error) {
    if (!(error instanceof WinrmError)) throw error;
    return { what, ok: false, found: `${error.message} ${error.advice}` };
  }
}

async function run(
  connections: ConnectionSource,
  script: Partial<Script> & Pick<Script, 'text'>,
  signal: AbortSignal,
  onStdout = () => {},
): Promise<{
  end: CommandEnd | string;
  stdout: string;
  stderr: string;
  /** How many ms before the end the first part of it arrived; undefined if there was none. */
  stderrBeforeEndMs: number | undefined;
}> {
  const { line, input } = scriptCommand({
    shell: 'powershell',
    bindings: [],
    environment: {},
    ...script,
  });
  const stdout: Buffer[] = [];
  const errors = new ClixmlDecoder();
  let stderr = '';
  let stderrAtMs: number | undefined;
  let end: CommandEnd | string;
  try {
    end = await runCommand({
      connections,
      settings: { environment: {}, workingDirectory: undefined, idleTimeoutS: 300 },
      line,
      input,
      onOutput: (stream, bytes) => {
        if (stream === 'stderr') {
          stderr += errors.write(bytes);
          if (stderr !== '') stderrAtMs ??= performance.now();
        } else {
          stdout.push(bytes);
          onStdout();
        }
      },
      signal,
      killGraceMs: () => 5_000,
    });
    if (end.how === 'lost') end = end.error.message;
  } catch (error) {
    if (!(error instanceof WinrmError)) throw error;
    end = `${error.message} ${error.advice}`;
  }
  const stderrBeforeEndMs = stderrAtMs === undefined ? undefined : Math.round(performance.now() - stderrAtMs);
  return {
    end,
    stdout: Buffer.concat(stdout).toString('utf8'),
    stderr: stderr + errors.end(),
    stderrBeforeEndMs,
  };
}

function shortened(output: string): string {
  return JSON.stringify(output.length > 300 ? `${output.slice(0, 300)}…` : output);
}
