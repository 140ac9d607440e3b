// Options of V8 for the workers that run tests. Which options there are differs between versions of Node.
import { execFileSync } from 'node:child_process';

/** Returns those of these options (`--name` or `--name=value`) that this Node knows: it does not start with others. */
export function knownV8Options(options: readonly string[]): string[] {
  const printed = execFileSync(process.execPath, ['--v8-options'], { encoding: 'utf8', env: {} });
  const known = new Set(printed.match(/^ *--[\w-]+/gm)?.map((name) => name.trim()));
  return options.filter((option) => known.has(option.split('=', 1)[0] ?? ''));
}
