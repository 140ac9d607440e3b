import { isAbsolute, join, relative } from 'node:path';
import { isSea } from 'node:sea';

/**
 * Returns how this program was called, so that it can be typed again: nobody has a command of its name on their PATH.
 *
 * @param isExecutable whether the program is an executable that contains its own Node.js.
 */
export function typedCommand(
  script = process.argv[1] ?? '',
  folder = workingDirectory(),
  isExecutable = isSea(),
): string {
  const near = folder === undefined ? script : relative(folder, script);
  const isNear = !near.startsWith('..') && near !== script;
  if (!isExecutable) return `node ${isNear ? near : script}`;
  return isNear ? `./${near}` : script;
}

/** Returns how the agent is called on this machine. As a file for Node.js it has the name that the console gives it. */
export function agentCommand(): string {
  return isSea() ? typedCommand() : 'node agent.mjs';
}

/** Undefined if it was removed, for example under a shell that stands in a folder that an upgrade replaces. */
export function workingDirectory(): string | undefined {
  try {
    return process.cwd();
  } catch {
    return undefined;
  }
}

/** Returns the absolute path: paths of what steps transfer are compared with those below the data directory. */
export function fromHere(path: string): string {
  return isAbsolute(path) ? path : join(workingDirectory() ?? '', path);
}
