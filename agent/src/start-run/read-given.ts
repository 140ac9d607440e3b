// Reads what a start is given from files, standard input or the environment, because every user of the machine can read
// command lines.
import { AgentError } from '../agent-error.ts';
import { readGivenText } from '../command-line/read-given-text.ts';
import { apiTokenVariable } from '../config.ts';
import { parseJson } from '../identity/identity.ts';

type Given = Record<string, unknown>;

/**
 * Returns the text of a file; `-` is standard input.
 *
 * @throws {AgentError}
 */
export async function readSource(source: string, option: string): Promise<string> {
  return readGivenText(source === '-' ? process.stdin : source).catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new AgentError(`The file of ${option} can't be read: ${why}.`, `Check the path of ${option}.`, {
      cause,
    });
  });
}

/** @throws {AgentError} */
export async function readApiToken(
  source: string | undefined,
  fromEnvironment: string | undefined,
): Promise<string> {
  if (source?.startsWith('oct_')) {
    throw new AgentError(
      'The API token must not be on the command line, where every user of this machine can read it.',
      `Revoke it, and give a new one with --token-file <path>, --token-file - (standard input) or ${apiTokenVariable}.`,
    );
  }
  const given = source === undefined ? (fromEnvironment ?? '') : await readSource(source, '--token-file');
  const token = given.trim();
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new AgentError(
    token === '' ? 'No API token was given.' : 'What was given is not an API token: it contains white space.',
    `Make one in the console under API tokens; it begins with oct_. Give it with --token-file <path> or ${apiTokenVariable}.`,
  );
}

/**
 * Reads the body of the start, as the API accepts it.
 *
 * @throws {AgentError}
 */
export async function readRequest(source: string): Promise<Given> {
  const request = parseJson(await readSource(source, '--request'));
  if (isObject(request)) return request;
  throw new AgentError(
    'What --request names is not a JSON object.',
    'Write what POST jobs/:id/run takes: {"targetIds": [12], "parameters": {"version": "2.4.1"}}.',
  );
}

/**
 * Reads secret values by the names of their parameters. Errors contain nothing of them.
 *
 * @throws {AgentError}
 */
export async function readSecrets(source: string): Promise<Record<string, string>> {
  const secrets = parseJson(await readSource(source, '--secrets'));
  const example = 'Write the secrets by name: {"token": "…"}. Secret parameters are texts.';
  if (!isObject(secrets)) throw new AgentError('What --secrets names is not a JSON object.', example);
  for (const [name, value] of Object.entries(secrets)) {
    if (typeof value !== 'string')
      throw new AgentError(`${name} in the file of --secrets is not a text.`, example);
    if (/\0|\p{Surrogate}/u.test(value)) {
      throw new AgentError(
        `${name} in the file of --secrets has a NUL character or half a surrogate pair in it.`,
        'Agents refuse such values; write the secret again.',
      );
    }
  }
  return secrets as Record<string, string>;
}

function isObject(value: unknown): value is Given {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
