// Exits with a one-line message if packages are missing that a script needs; `--dev` includes those for development.
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '..');
const dev = process.argv.includes('--dev');

const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'));

function missingPackages() {
  const folders = [root, ...readJson(join(root, 'package.json')).workspaces.map((name) => join(root, name))];
  const missing = folders.flatMap((folder) => {
    const { dependencies, devDependencies } = readJson(join(folder, 'package.json'));
    const names = Object.keys({ ...dependencies, ...(dev ? devDependencies : {}) });
    return names.filter((name) => ![folder, root].some((at) => existsSync(join(at, 'node_modules', name))));
  });
  return [...new Set(missing)].sort();
}

const missing = missingPackages();
if (missing.length > 0) {
  const others = missing.length > 3 ? ` and ${missing.length - 3} more` : '';
  process.stderr.write(
    `Run npm ci first, in ${root}: packages are missing (${missing.slice(0, 3).join(', ')}${others}).\n`,
  );
  process.exit(1);
}
