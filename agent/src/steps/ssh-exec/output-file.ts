// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the text is a shell's
// The file that a command hands values on by: in a directory of its own that only the target's user may enter, made with
// the command and read once that has ended well.
import { limits } from '@opsconductor/protocol';
import { compound, prelude } from '../../detached/supervisor-script.ts';
import type { SshPool } from '../../ssh/pool/pool.ts';
import { runScript } from '../../ssh/run-script.ts';
import type { AttemptOnTarget } from '../step-type.ts';
import { newNonce } from './bootstrap-report.ts';

const blockBytes = 64 * 1024;

/** Beside the directory of a command that goes on by itself, so that one clean-up finds both. */
export function outputDirectory(directoryName: string): string {
  return `${directoryName}.out`;
}

/** Sets OPSCONDUCTOR_OUTPUT to the path of a new file; leaves it empty where there is no place for one. */
export function makeOutputFile(directoryName: string): string[] {
  return [
    // In a shell of its own, which leaves no name behind.
    'OPSCONDUCTOR_OUTPUT=$(',
    ...prelude(outputDirectory(directoryName), '-'),
    'umask 077; locate || { make && : >"$d/output" && echo "$d/output"; }',
    ')',
    'export OPSCONDUCTOR_OUTPUT',
  ];
}

/** What the command has written there. Never rejects. */
export async function readOutputFile(
  pool: SshPool,
  { directoryName, target, credential, become, checkAddresses }: AttemptOnTarget,
): Promise<Buffer | { problem: string }> {
  const nonce = newNonce();
  const request = {
    target,
    credential,
    checkAddresses: (found: readonly string[]) => checkAddresses(found),
  };
  try {
    const said = await runScript(
      { pool, request, become, scriptTimeoutMs: 10_000, giveUpAfterMs: 30_000 },
      readScript(outputDirectory(directoryName), nonce),
    );
    return fileIn(said, nonce);
  } catch (error) {
    const why = error instanceof Error ? error.message.replace(/\.$/, '') : 'the host did not answer';
    return { problem: `the file OPSCONDUCTOR_OUTPUT could not be read: ${why}` };
  }
}

function readScript(name: string, nonce: string): string {
  // A byte more than is taken tells that there is more.
  const blocks = Math.ceil((limits.maxOutputDocumentBytes + 1) / blockBytes);
  return compound([
    ...prelude(name, nonce),
    'locate && cd "$d" && [ -f output ] && [ ! -h output ] || { echo "$n none"; exit 0; }',
    `echo "$n file"; dd bs=${blockBytes} count=${blocks} <output 2>/dev/null; echo; echo "$n end"`,
  ]).toString();
}

/** @param said as Latin-1. */
function fileIn(said: string, nonce: string): Buffer | { problem: string } {
  const opening = `${nonce} file\n`;
  const start = said.indexOf(opening);
  const end = said.lastIndexOf(`\n${nonce} end\n`);
  if (start !== -1 && end !== -1) return Buffer.from(said.slice(start + opening.length, end), 'latin1');
  return {
    problem: said.includes(`${nonce} none`)
      ? 'the file OPSCONDUCTOR_OUTPUT is gone, or is no plain file any more'
      : 'the file OPSCONDUCTOR_OUTPUT could not be read',
  };
}
