// Explains to whoever starts the server why its program can't be built or loaded.
import { accessSync, constants, existsSync } from 'node:fs';
import { resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');

/** Returns what is wrong and the fix; `undefined` for any other error. */
export function startProblem(error) {
  const { code, path, message = '' } = Object(error);
  if (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') {
    return (
      `${message.split('\n', 1)[0]}. Run npm ci in ${root}. If that was done, this user may not read what it has ` +
      'installed: run it, and node scripts/build.mjs, with umask 022.'
    );
  }
  if (!['EACCES', 'EPERM', 'EROFS'].includes(code) || typeof path !== 'string') return undefined;
  if (existsSync(path) && !isReadable(path)) {
    return (
      `This user may not read ${path}. The user who runs the server has to be able to read all of ${root}: get it, ` +
      'run npm ci and node scripts/build.mjs with umask 022.'
    );
  }
  return (
    `What is built is older than its sources, and this user may not write ${path}. Run node scripts/build.mjs in ` +
    `${root} as the user who owns it, as after each upgrade.`
  );
}

function isReadable(path) {
  try {
    accessSync(path, constants.R_OK);
    return true;
  } catch {
    return false;
  }
}

/** Ends the process with what is wrong; throws errors that are not about files and packages. */
export function endWithProblem(error) {
  const problem = startProblem(error);
  if (problem === undefined) throw error;
  process.stderr.write(`\n${problem}\n`);
  process.exit(1);
}
