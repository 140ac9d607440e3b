// Sorts the uploaded files into inventories and files of variables, found like Ansible finds them:
// `group_vars/web.yml`, or all files in the folder `group_vars/web/`.
import type { InventoryFile } from '@opsconductor/protocol';
import { quoted } from '../report.ts';
import { readVariables } from './parse-yaml.ts';
import type { AnsibleTree } from './tree.ts';

const extensions = ['', '.yml', '.yaml', '.json'];
const folders = ['group_vars', 'host_vars'] as const;

export interface SortedFiles {
  /** In the order in which they are read. */
  inventories: InventoryFile[];
  variables: { of: (typeof folders)[number]; name: string; file: InventoryFile }[];
}

export function sortFiles(files: readonly InventoryFile[]): SortedFiles {
  const sorted: SortedFiles = { inventories: [], variables: [] };
  for (const file of [...files].sort((a, b) => (a.path < b.path ? -1 : 1))) {
    const parts = file.path.split('/');
    const at = parts.findIndex((part) => (folders as readonly string[]).includes(part));
    const folder = folders.find((one) => one === parts[at]);
    if (folder === undefined || at === parts.length - 1) sorted.inventories.push(file);
    else sorted.variables.push({ of: folder, name: parts.slice(at + 1).join('/'), file });
  }
  return sorted;
}

/** Sets the variables of all files for the groups and hosts in the tree. */
export function readVarsFiles(tree: AnsibleTree, { variables }: SortedFiles): void {
  const byName = new Map(variables.map((one) => [`${one.of}/${one.name}`, one]));
  const inFolder = new Map<string, SortedFiles['variables']>();
  for (const one of variables) {
    const [first = '', ...rest] = one.name.split('/');
    if (rest.length === 0 || !isRead(rest)) continue;
    const key = `${one.of}/${first}`;
    inFolder.set(key, [...(inFolder.get(key) ?? []), one]);
  }
  const used = new Set<string>();
  for (const of of folders) {
    const names = of === 'group_vars' ? tree.groups.keys() : tree.hosts.keys();
    for (const name of names) {
      // A folder with the plain name wins over files with an extension, of which only one is read.
      const found =
        inFolder.get(`${of}/${name}`) ??
        extensions.flatMap((extension) => byName.get(`${of}/${name}${extension}`) ?? []).slice(0, 1);
      for (const { file } of found) {
        used.add(file.path);
        readFile(tree, of, name, file);
      }
    }
  }
  for (const { file, of } of variables) {
    if (used.has(file.path)) continue;
    const what = of === 'group_vars' ? 'group' : 'host';
    tree.report.found(
      'note',
      { file: file.path, line: null },
      `The file is ignored: it belongs to no ${what} of the inventory, or another file takes precedence.`,
    );
  }
}

/** Hidden files, backups and files of other kinds are not read. */
function isRead(path: readonly string[]): boolean {
  const isWanted = (name: string) => !name.startsWith('.') && !name.endsWith('~');
  const name = path.at(-1) ?? '';
  const extension = /\.[^.]+$/.exec(name)?.[0] ?? '';
  return path.every(isWanted) && extensions.includes(extension);
}

function readFile(tree: AnsibleTree, of: string, name: string, file: InventoryFile): void {
  if (file.content.startsWith('$ANSIBLE_VAULT;')) {
    const message = `The file is encrypted by Ansible Vault and is not read. Create credentials for the secrets in it; write the rest of what ${quoted(name)} needs into a plain file.`;
    tree.report.found('dropped', { file: file.path, line: 1 }, message);
    return;
  }
  for (const variable of readVariables(tree, file.path, file.content)) {
    if (of === 'group_vars') {
      const group = tree.groups.get(name);
      if (group !== undefined) tree.setGroupVariable(group, variable.name, variable.value, true);
    } else {
      const host = tree.hosts.get(name);
      if (host !== undefined) tree.setVariableOfHosts([host], variable.name, variable.value, true);
    }
  }
}
