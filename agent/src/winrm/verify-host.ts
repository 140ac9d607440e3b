// Tries everything that steps rely on against a host, and says of each whether it is so. For hosts that nobody has tried
// this against yet: it changes nothing there but a folder for temporary files, which it removes.
import type { Binding } from '@opsconductor/protocol';
import { ClixmlDecoder } from './clixml.ts';
import type { ConnectionSource } from './pool.ts';
import { type CommandEnd, runCommand } from './run-command.ts';
import { type Script, scriptCommand } from './script-command.ts';
import { testHost } from './test-host.ts';
import { WinrmError } from './winrm-error.ts';

export interface Verified {
  what: string;
  ok: boolean;
  /** What was seen: of interest in any case, and evidence where it is not as it should be. */
  found: string;
}

const text = 'ä€𝄞 "quoted" \'single\' %PATH% !x! $HOME `tick` <&> ';
const value: Binding = { name: 'OPSVERIFY_1', type: 'string', value: text, secret: false };
const lines = 20_000;

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

/** Scripts and what they must come to; exported for tests, whose host is no Windows. */
export const trials: readonly Trial[] = [
  {
    what: 'PowerShell tells its version',
    text: '$PSVersionTable.PSVersion.ToString()',
    isGood: ({ code, stdout }) => code === 0 && /^\d+\.\d+/.test(stdout),
  },
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
    what: 'an error that ends a script is told as text',
    text: "throw 'it went wrong'",
    isGood: ({ code, stderr }) =>
      code === 1 &&
      stderr.includes('it went wrong') &&
      !stderr.includes('CLIXML') &&
      !stderr.includes('_x000'),
  },
  {
    what: 'the environment is there',
    text: 'Write-Output $env:OPSVERIFY',
    environment: { OPSVERIFY: text },
    isGood: prints(text),
  },
  {
    what: 'a batch file runs, and its exit code is told',
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
/** Of the one that is stopped. */
export const endless = "Write-Output 'begun'; Start-Sleep -Seconds 600";

/** One after the other; after what makes the rest pointless nothing more comes. */
export async function* verifyHost(connections: ConnectionSource): AsyncGenerator<Verified> {
  const connection = connections.connect();
  try {
    yield {
      what: 'the host is reached, logs in and makes a shell',
      ok: true,
      found: await testHost(connection),
    };
  } catch (error) {
    if (!(error instanceof WinrmError)) throw error;
    yield {
      what: 'the host is reached, logs in and makes a shell',
      ok: false,
      found: `${error.message} ${error.advice}`,
    };
    return;
  } finally {
    connections.release(connection);
  }
  for (const trial of trials) yield await verify(connections, trial);
  yield await verifyStop(connections);
}

async function verify(connections: ConnectionSource, trial: Trial): Promise<Verified> {
  const { what, isGood } = trial;
  const { end, stdout, stderr } = await run(connections, trial, new AbortController().signal);
  if (typeof end === 'string') return { what, ok: false, found: end };
  const code = end.how === 'exited' ? end.exitCode : undefined;
  const shown = `exit code ${code ?? 'unknown'}, stdout ${shortened(stdout)}, stderr ${shortened(stderr)}`;
  return { what, ok: end.how === 'exited' && isGood({ stdout, stderr, code }), found: shown };
}

async function verifyStop(connections: ConnectionSource): Promise<Verified> {
  const stop = new AbortController();
  const { end } = await run(connections, { text: endless }, stop.signal, () =>
    stop.abort(new Error('stopped')),
  );
  const what = 'a command that is stopped is ended, and the host says so';
  if (typeof end === 'string') return { what, ok: false, found: end };
  const ok = end.how === 'stopped' && end.confirmed;
  return { what, ok, found: end.how === 'stopped' ? (end.why ?? 'confirmed') : end.how };
}

async function run(
  connections: ConnectionSource,
  script: Partial<Script> & Pick<Script, 'text'>,
  signal: AbortSignal,
  onStdout = () => {},
): Promise<{ end: CommandEnd | string; stdout: string; stderr: string }> {
  const { line, input } = scriptCommand({
    shell: 'powershell',
    bindings: [],
    environment: {},
    ...script,
  });
  const stdout: Buffer[] = [];
  const errors = new ClixmlDecoder();
  let stderr = '';
  let end: CommandEnd | string;
  try {
    end = await runCommand({
      connections,
      settings: { environment: {}, workingDirectory: undefined, idleTimeoutS: 300 },
      line,
      input,
      onOutput: (stream, bytes) => {
        if (stream === 'stderr') stderr += errors.write(bytes);
        else {
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
  return { end, stdout: Buffer.concat(stdout).toString('utf8'), stderr: stderr + errors.end() };
}

function shortened(output: string): string {
  return JSON.stringify(output.length > 300 ? `${output.slice(0, 300)}…` : output);
}
