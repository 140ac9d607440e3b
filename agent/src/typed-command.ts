import { relative } from 'node:path';

/** How this program was called, as it can be typed again: there is no command of its name on anybody's PATH. */
export function typedCommand(script = process.argv[1] ?? '', folder = workingDirectory()): string {
  const near = folder === undefined ? script : relative(folder, script);
  return `node ${near.startsWith('..') ? script : near}`;
}

/** Undefined where it has been removed, as that of a shell which stands in a folder that an upgrade replaces. */
export function workingDirectory(): string | undefined {
  try {
    return process.cwd();
  } catch {
    return undefined;
  }
}
