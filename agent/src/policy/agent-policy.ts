// What the owner of the agent's machine allows, in a file that only that machine has: no server can change it.
import { readFile, realpath, stat } from 'node:fs/promises';
import { dirname, isAbsolute, normalize } from 'node:path';
import { type Static, Type } from 'typebox';
import { Errors } from 'typebox/value';
import { parse } from 'yaml';
import { AgentError } from '../agent-error.ts';

const Directory = Type.String({ minLength: 1, maxLength: 4096, pattern: '^/[^\\u0000]*$' });
const FileRootSchema = Type.Union([
  Directory,
  Type.Object(
    { path: Directory, access: Type.Optional(Type.Enum(['read', 'write'])) },
    { additionalProperties: false },
  ),
]);
const PolicySchema = Type.Object(
  { file_roots: Type.Optional(Type.Array(FileRootSchema, { maxItems: 100 })) },
  { additionalProperties: false },
);

/** A directory that steps may read below, and write where it says so. */
export interface FileRoot {
  path: string;
  mayWrite: boolean;
}

export interface AgentPolicy {
  readonly fileRoots: readonly FileRoot[];
}

/** Without a policy file: what needs an owner's word is refused. */
export const emptyPolicy: AgentPolicy = { fileRoots: [] };

/**
 * Reads a policy file, YAML or JSON.
 *
 * @param dataDir The agent's own directory: no root may hold it, or steps could read the agent's keys.
 * @throws {AgentError} when it can't be read, others may change it, or something in it is wrong.
 */
export async function readPolicy(file: string, dataDir: string): Promise<AgentPolicy> {
  await checkOwner(file);
  const { file_roots = [] } = parsePolicy(file, await readText(file));
  const fileRoots = file_roots.map((root): FileRoot => {
    const { path, access = 'write' } = typeof root === 'string' ? { path: root } : root;
    return { path: withoutEnd(normalize(path)), mayWrite: access === 'write' };
  });
  if (fileRoots.length > 0 && process.platform !== 'linux') {
    throw new AgentError(
      'file_roots of the policy file works on Linux only.',
      'Leave it out, or run this agent on Linux: elsewhere a path cannot be held open against links.',
    );
  }
  for (const [at, root] of fileRoots.entries()) await checkRoot(root, `file_roots[${at}]`, file, dataDir);
  return { fileRoots };
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new AgentError(`The policy file ${file} can not be read (${code}).`, 'Check --policy.', { cause });
  }
}

/** Who may write it decides what the agent may do. */
async function checkOwner(file: string): Promise<void> {
  const found = await stat(file).catch(() => undefined);
  if (found === undefined) return;
  const own = process.getuid?.();
  const isOurs = own === undefined || found.uid === 0 || found.uid === own;
  if (isOurs && (found.mode & 0o022) === 0) return;
  throw new AgentError(
    `The policy file ${file} may be changed by others than root and the agent's user.`,
    `chown root ${file} && chmod 644 ${file}`,
  );
}

function parsePolicy(file: string, text: string): Static<typeof PolicySchema> {
  let value: unknown;
  try {
    value = parse(text) ?? {};
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
    throw new AgentError(`The policy file ${file} is neither YAML nor JSON: ${why}`, 'Correct it.', {
      cause,
    });
  }
  const [error] = Errors(PolicySchema, value);
  if (error === undefined) return value as Static<typeof PolicySchema>;
  const place = error.instancePath.slice(1).replaceAll('/', '.');
  throw new AgentError(
    `The policy file ${file} is wrong${place === '' ? '' : ` at ${place}`}: it ${error.message}.`,
    'It knows file_roots: a list of absolute paths, or of {path: /srv/files, access: read}.',
  );
}

async function checkRoot(root: FileRoot, at: string, file: string, dataDir: string): Promise<void> {
  const real = await realpath(root.path).catch(() => undefined);
  const isDirectory = real !== undefined && (await stat(real)).isDirectory();
  if (real === undefined || !isDirectory) {
    throw new AgentError(
      `${at} of the policy file: ${root.path} is no directory.`,
      `Create it, or take it out of ${file}.`,
    );
  }
  const own = await realpath(dataDir);
  if (isInside(own, real) || isInside(real, own)) {
    throw new AgentError(
      `${at} of the policy file: ${root.path} and the agent's own directory ${dataDir} lie in each other.`,
      'Name a directory of its own: steps could else read the keys of the agent.',
    );
  }
  if (root.mayWrite && isInside(await realpath(dirname(file)), real)) {
    throw new AgentError(
      `${at} of the policy file: ${root.path} holds the policy file itself.`,
      'Keep the policy file elsewhere: steps could else change what they are allowed.',
    );
  }
}

/** Whether a normalized path is the directory or below it. */
export function isInside(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === '/' ? '/' : `${directory}/`);
}

function withoutEnd(path: string): string {
  return isAbsolute(path) && path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}
