// Checks where secrets and the programs that print them lie: steps must not be able to read the former or write the
// latter.
import { readlink, realpath, stat } from 'node:fs/promises';
import { basename, dirname, join, normalize, resolve } from 'node:path';
import { AgentError } from '../agent-error.ts';
import { type FileRoot, isChangedByOwnerAlone, isInside } from './file-roots.ts';
import type { SourceRule } from './policy-schema.ts';

interface Places {
  policyFile: string;
  dataDir: string;
  /** The real path of the agent's own directory. */
  own: string;
  roots: readonly FileRoot[];
}

/** @throws {AgentError} for a source that a step could read or change. */
export async function checkSourceFiles(
  sources: readonly SourceRule[],
  fileRoots: readonly FileRoot[],
  { file: policyFile, dataDir }: { file: string; dataDir: string },
): Promise<void> {
  const roots = await Promise.all(fileRoots.map(async (root) => ({ ...root, path: await real(root.path) })));
  const places = { policyFile, dataDir, own: await real(dataDir), roots };
  for (const [at, { file, command }] of sources.entries()) {
    if (file !== undefined) await checkFile(at, file, places);
    if (command !== undefined) await checkCommand(at, command, places);
  }
}

/** A step that could read the file would send the secret on as it is. */
async function checkFile(at: number, file: string, { policyFile, dataDir, own, roots }: Places) {
  const found = await real(file);
  const root = roots.find(({ path }) => isInside(found, path) || isInside(normalize(file), path));
  if (root !== undefined) {
    throw new AgentError(
      `sources[${at}].file of the policy file: ${file} is in ${root.path}, which steps may read.`,
      `Keep the secret elsewhere, or remove ${root.path} from file_roots in ${policyFile}.`,
      { toldToServer: `sources[${at}].file of the policy file is where steps may read.` },
    );
  }
  if (isInside(found, own)) {
    throw new AgentError(
      `sources[${at}].file of the policy file: ${file} is in the agent's own directory ${dataDir}.`,
      'Keep the secret elsewhere: otherwise targets could be sent the keys of the agent.',
      { toldToServer: `sources[${at}].file of the policy file is in the agent's own directory.` },
    );
  }
}

/** Whoever may change the program, or a file that it is given, can run anything as the agent. */
async function checkCommand(at: number, command: readonly string[], { policyFile, roots }: Places) {
  for (const [position, argument] of command.entries()) {
    // Also in an argument like --config=/etc/vault.hcl.
    const path = argument.startsWith('/') ? argument : argument.slice(argument.indexOf('=') + 1);
    if (!path.startsWith('/')) continue;
    const found = await real(path);
    const isWithin = (one: FileRoot) => isInside(found, one.path) || isInside(normalize(path), one.path);
    const root = roots.find((one) => one.mayWrite && isWithin(one));
    if (root === undefined) continue;
    throw new AgentError(
      `sources[${at}].command[${position}] of the policy file: ${path} is in ${root.path}, which steps may write.`,
      `Keep it elsewhere, or let steps only read ${root.path} (access: read) in ${policyFile}: otherwise what they write there would run as the agent.`,
      { toldToServer: `sources[${at}].command[${position}] of the policy file is where steps may write.` },
    );
  }
  const [program = ''] = command;
  const found = await stat(program).catch(() => undefined);
  if (found === undefined || isChangedByOwnerAlone(found)) return;
  throw new AgentError(
    `sources[${at}].command[0] of the policy file: ${program} can be changed by users other than root and the agent's user.`,
    `chown root ${program} && chmod go-w ${program}`,
    {
      toldToServer: `sources[${at}].command[0] of the policy file can be changed by users other than root and the agent's user.`,
    },
  );
}

/** Resolves as much of the path as exists, since the rest may be created later. */
async function real(path: string): Promise<string> {
  const found = await realpath(path).catch((error: NodeJS.ErrnoException) => error);
  if (typeof found === 'string') return found;
  const target = found.code === 'ENOENT' ? await readlink(path).catch(() => undefined) : undefined;
  if (target !== undefined) return real(resolve(await real(dirname(path)), target));
  const above = dirname(path);
  return above === path ? path : join(await real(above), basename(path));
}
