// What the owner of the agent's machine allows, in a file that only that machine has: no server can change it.
import { open, realpath, stat } from 'node:fs/promises';
import { dirname, isAbsolute, normalize } from 'node:path';
import { AgentError } from '../agent-error.ts';
import { readGivenText } from '../command-line/read-given-text.ts';
import { agentCommand } from '../command-line/typed-command.ts';
import { type FileRoot, isChangedByOwnerAlone, isInside } from './file-roots.ts';
import { type PolicyProblem, parsePolicy } from './parse-policy.ts';
import type { PolicyDocument } from './policy-schema.ts';
import { checkSourceFiles } from './source-files.ts';

/** All rules except for files. Whatever no rule restricts is allowed. */
export type PolicyRules = Omit<PolicyDocument, 'file_roots'>;

export interface AgentPolicy {
  readonly fileRoots: readonly FileRoot[];
  readonly rules?: PolicyRules | undefined;
  /** Where the policy was read from. */
  readonly source?: PolicySource | undefined;
}

export interface PolicySource {
  file: string;
  /** Line of a rule such as `targets.ports`. */
  lineOf(path: string): number | undefined;
}

/** Without a policy file, whatever needs an owner's permission is refused. */
export const emptyPolicy: AgentPolicy = { fileRoots: [] };

/**
 * Reads a policy file, YAML or JSON.
 *
 * @param dataDir The agent's own directory: no root may contain it, or steps could read the agent's keys.
 * @throws {AgentError} if it can't be read, others may change it, or something in it is wrong.
 */
export async function readPolicy(file: string, dataDir: string): Promise<AgentPolicy> {
  const parsed = parsePolicy(await readText(file));
  if ('problems' in parsed) throw wrong(file, parsed.problems);
  const { file_roots = [], ...rules } = parsed.document;
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
  await checkTogether(fileRoots);
  await checkSourceFiles(rules.sources ?? [], fileRoots, { file, dataDir });
  return { fileRoots, rules, source: { file, lineOf: parsed.lineOf } };
}

/** Opened once, so that what is read is the file that was checked. */
async function readText(file: string): Promise<string> {
  try {
    const opened = await open(file);
    try {
      checkOwner(file, await opened.stat());
      return await readGivenText(opened.createReadStream({ autoClose: false }));
    } finally {
      await opened.close();
    }
  } catch (cause) {
    if (cause instanceof AgentError) throw cause;
    const { code, message } = cause as NodeJS.ErrnoException;
    throw new AgentError(`The policy file ${file} can not be read (${code ?? message}).`, 'Check its path.', {
      cause,
    });
  }
}

/** Whoever may write the file decides what the agent may do. */
function checkOwner(file: string, found: { uid: number; mode: number }): void {
  if (isChangedByOwnerAlone(found)) return;
  throw new AgentError(
    `The policy file ${file} can be changed by users other than root and the agent's user.`,
    `chown root ${file} && chmod 644 ${file}`,
  );
}

function wrong(file: string, problems: readonly PolicyProblem[]): AgentError {
  const told = problems.map(({ path, line, message }) => {
    const place = [...(line === undefined ? [] : [`line ${line}`]), ...(path === '' ? [] : [path])].join(
      ', ',
    );
    return place === '' ? message : `${place}: ${message}`;
  });
  return new AgentError(
    `The policy file ${file} is wrong. ${told.join(' ')}`,
    `Correct it, and check it with: ${agentCommand()} policy check ${file}`,
  );
}

async function checkRoot(root: FileRoot, at: string, file: string, dataDir: string): Promise<void> {
  const real = await realpath(root.path).catch(() => undefined);
  const isDirectory = real !== undefined && (await stat(real)).isDirectory();
  if (real === undefined || !isDirectory) {
    throw new AgentError(
      `${at} of the policy file: ${root.path} is not a directory.`,
      `Create it, or remove it from ${file}.`,
    );
  }
  // If the policy is checked before the enrollment, the agent has no directory yet.
  const own = await realpath(dataDir).catch(() => normalize(dataDir));
  if (isInside(own, real) || isInside(real, own)) {
    throw new AgentError(
      `${at} of the policy file: ${root.path} and the agent's own directory ${dataDir} overlap.`,
      'Name a separate directory: otherwise steps could read the keys of the agent.',
    );
  }
  if (root.mayWrite && isInside(await realpath(dirname(file)), real)) {
    throw new AgentError(
      `${at} of the policy file: ${root.path} holds the policy file itself.`,
      'Keep the policy file elsewhere: otherwise steps could change what they are allowed.',
    );
  }
}

/** A directory must not be read-only by one name and writable by another. */
async function checkTogether(roots: readonly FileRoot[]): Promise<void> {
  const real = await Promise.all(roots.map(async (root) => ({ ...root, real: await realpath(root.path) })));
  for (const [at, root] of real.entries()) {
    const other = real.find(
      (one) =>
        one.mayWrite !== root.mayWrite &&
        isInside(root.real, one.real) &&
        !(isInside(root.path, one.path) && root.real === one.real + root.path.slice(one.path.length)),
    );
    if (other === undefined) continue;
    const [ours, theirs] = root.mayWrite ? ['be written', 'be read only'] : ['be read only', 'be written'];
    throw new AgentError(
      `file_roots[${at}] of the policy file: ${root.path} may ${ours}, and leads to ${root.real} in ${other.path}, which may ${theirs}.`,
      `Name the directory itself: ${root.real}.`,
    );
  }
}

function withoutEnd(path: string): string {
  return isAbsolute(path) && path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}
