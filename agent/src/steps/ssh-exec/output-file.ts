// The file in which a command writes its outputs. It is in a directory of its own that only the command's user may
// enter, is made when the command starts, and is read after the command has succeeded.
import { limits } from '@opsconductor/protocol';
import { compound, prelude } from '../../detached/supervisor-script.ts';
import type { SshPool } from '../../ssh/pool/pool.ts';
import { requestFor } from '../../ssh/pool/request-for.ts';
import { runScript } from '../../ssh/run-script.ts';
import type { AttemptOnTarget } from '../step-type.ts';
import { newNonce } from './bootstrap-report.ts';

const blockBytes = 64 * 1024;

/** The name is next to that of the supervisor's directory, so that one clean-up finds both. */
export function outputDirectory(directoryName: string): string {
  return `${directoryName}.out`;
}

/**
 * Returns statements that set OPSCONDUCTOR_OUTPUT to the path of a new file, or to nothing if no place is safe for it.
 */
export function makeOutputFile(directoryName: string): string[] {
  return [
    // In a subshell, so that the command inherits none of its variables and functions.
    'OPSCONDUCTOR_OUTPUT=$(',
    ...prelude(outputDirectory(directoryName), '-'),
    'umask 077; locate || { make && : >"$d/output" && echo "$d/output"; }',
    ')',
    'export OPSCONDUCTOR_OUTPUT',
  ];
}

/** Returns what the command wrote to its output file, or the problem. Never rejects. */
export async function readOutputFile(
  pool: SshPool,
  attempt: AttemptOnTarget,
): Promise<Buffer | { problem: string }> {
  const nonce = newNonce();
  const { become } = attempt;
  try {
    const said = await runScript(
      { pool, request: requestFor(attempt), become, scriptTimeoutMs: 10_000, giveUpAfterMs: 30_000 },
      readScript(outputDirectory(attempt.directoryName), nonce),
    );
    return fileIn(said, nonce);
  } catch (error) {
    const why = error instanceof Error ? error.message.replace(/\.$/, '') : 'the host did not answer';
    return { problem: `the file OPSCONDUCTOR_OUTPUT could not be read: ${why}` };
  }
}

function readScript(name: string, nonce: string): string {
  // At least one byte more than the limit, so that a file that is too long is noticed.
  const blocks = Math.ceil((limits.maxOutputDocumentBytes + 1) / blockBytes);
  return compound([
    ...prelude(name, nonce),
    'locate && cd "$d" && [ -f output ] && [ ! -h output ] || { echo "$n none"; exit 0; }',
    `echo "$n file"; dd bs=${blockBytes} count=${blocks} <output 2>/dev/null; echo; echo "$n end"`,
  ]).toString();
}

/** @param said decoded as Latin-1, so that it holds any bytes */
function fileIn(said: string, nonce: string): Buffer | { problem: string } {
  const opening = `${nonce} file\n`;
  const start = said.indexOf(opening);
  const end = said.lastIndexOf(`\n${nonce} end\n`);
  if (start !== -1 && end !== -1) return Buffer.from(said.slice(start + opening.length, end), 'latin1');
  return {
    problem: said.includes(`${nonce} none`)
      ? 'the file OPSCONDUCTOR_OUTPUT is gone, or is no longer a regular file'
      : 'the file OPSCONDUCTOR_OUTPUT could not be read',
  };
}
