// The enrollment token comes from a file, standard input or the environment, because every user of the machine can read
// command lines.
import { AgentError } from '../agent-error.ts';
import { readGivenText } from '../command-line/read-given-text.ts';
import { enrollmentTokenVariable } from '../config.ts';

/** @param source a path, `-` for standard input, or undefined to use the token from the environment. */
export async function readToken(
  source: string | undefined,
  fromEnvironment: string | undefined,
): Promise<string> {
  if (source?.startsWith('oce_')) {
    throw new AgentError(
      'The enrollment token must not be on the command line, where every user of this machine can read it.',
      `Make a new token, and give it with --token-file <path>, --token-file - (standard input) or ${enrollmentTokenVariable}.`,
    );
  }
  if (source !== undefined) {
    const content = await readGivenText(source === '-' ? process.stdin : source).catch((cause: unknown) => {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new AgentError(
        `The token file can't be read: ${why}.`,
        'Check the path given with --token-file.',
        { cause },
      );
    });
    return firstLine(content);
  }
  if (fromEnvironment !== undefined && fromEnvironment !== '') return firstLine(fromEnvironment);
  throw new AgentError(
    'No enrollment token was given.',
    `Give it with --token-file <path>, --token-file - (standard input) or the environment variable ${enrollmentTokenVariable}.`,
  );
}

function firstLine(content: string): string {
  return content.trim().split(/\s/, 1)[0] ?? '';
}
