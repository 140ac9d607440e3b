// The Node.js that was installed on this machine, as opposed to the one that comes with the server's packages. Agents
// run on it, because no packages are installed where they run.
import { accessSync, constants, realpathSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** Path of the machine's own `node`; if there is none, of the one that runs this process. */
export function machineNode(path = process.env['PATH'] ?? ''): string {
  const folders = path.split(delimiter).filter((folder) => folder !== '' && !folder.includes('node_modules'));
  return folders.map((folder) => join(folder, 'node')).find(canRun) ?? process.execPath;
}

function canRun(program: string): boolean {
  try {
    accessSync(program, constants.X_OK);
    return !realpathSync(program).includes('node_modules');
  } catch {
    return false;
  }
}
