import { relative } from 'node:path';

/** How this program was called, as it can be typed again: there is no command of its name on anybody's PATH. */
export function typedCommand(script = process.argv[1] ?? '', folder = process.cwd()): string {
  const near = relative(folder, script);
  return `node ${near.startsWith('..') ? script : near}`;
}
