import { relative } from 'node:path';

/**
 * Returns how this program was called, so that it can be typed again: nobody has a command of its name on their PATH.
 */
export function typedCommand(script = process.argv[1] ?? '', folder = workingDirectory()): string {
  const near = folder === undefined ? script : relative(folder, script);
  return `node ${near.startsWith('..') ? script : near}`;
}

/** Undefined if it was removed, for example under a shell that stands in a folder that an upgrade replaces. */
export function workingDirectory(): string | undefined {
  try {
    return process.cwd();
  } catch {
    return undefined;
  }
}
