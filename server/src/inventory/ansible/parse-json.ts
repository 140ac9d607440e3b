// Parses what `ansible-inventory --list` and inventory scripts print: groups with hosts, children and vars, and the
// variables of hosts in `_meta.hostvars`; also the old form, in which a group is a list of hosts.
import { type Place, quoted } from '../report.ts';
import { linesOfRepeatedKeys } from './lines-of-paths.ts';
import type { AnsibleGroup, AnsibleTree } from './tree.ts';
import { scalarValue, unusable, type Value } from './values.ts';

type Json = Record<string, unknown>;

/** Reads one file into the tree. Places have paths, which `linesOfPaths` converts to lines. */
export function parseJson(tree: AnsibleTree, file: string, text: string): void {
  const at = (...keys: string[]): Place => ({ file, line: null, path: keys.join('\0') });
  let root: unknown;
  try {
    root = JSON.parse(text);
  } catch {
    tree.report.error(
      { file, line: null },
      'The file is not JSON. Give what ansible-inventory --list prints, all of it.',
    );
    return;
  }
  if (!isObject(root)) {
    tree.report.error({ file, line: 1 }, 'A JSON inventory is an object of groups.');
    return;
  }
  for (const line of linesOfRepeatedKeys(text)) {
    const message = 'This key occurs twice in one object; the last one counts, as in Ansible.';
    tree.report.found('note', { file, line }, message);
  }
  for (const [name, group] of entriesOf(root)) if (name !== '_meta') readGroup(tree, name, group, at);
  const meta = isObject(root._meta) ? root._meta.hostvars : undefined;
  if (meta === undefined) {
    const message = 'There is no _meta.hostvars, so nothing is known about the hosts except their names.';
    tree.report.found('note', { file, line: null }, message);
    return;
  }
  for (const [name, variables] of entriesOf(meta)) {
    const host = tree.hosts.get(name);
    if (host === undefined) continue;
    for (const [variable, value] of entriesOf(variables)) {
      tree.setVariableOfHosts([host], variable, readValue(value, at('_meta', 'hostvars', name, variable)));
    }
  }
}

function readGroup(tree: AnsibleTree, name: string, given: unknown, at: (...keys: string[]) => Place): void {
  const group = tree.addGroup(name, at(name));
  if (Array.isArray(given)) {
    readHosts(tree, group, given, at(name));
    return;
  }
  if (!isObject(given)) {
    tree.report.error(at(name), `The group ${quoted(name)} is an object, or a list of hosts.`);
    return;
  }
  if (!('hosts' in given || 'vars' in given || 'children' in given)) {
    readMalformed(tree, group, given, at);
    return;
  }
  if (given.hosts !== undefined) readHosts(tree, group, given.hosts, at(name, 'hosts'));
  for (const [variable, value] of entriesOf(given.vars)) {
    tree.setGroupVariable(group, variable, readValue(value, at(name, 'vars', variable)));
  }
  if (given.children === undefined) return;
  if (!Array.isArray(given.children) || given.children.some((child) => typeof child !== 'string')) {
    tree.report.error(at(name, 'children'), `children of the group ${quoted(name)} is a list of names.`);
    return;
  }
  for (const child of given.children as string[]) tree.addChild(name, child, at(name, 'children'));
}

/** As in Ansible, an object without hosts, vars and children is taken for the variables of one host of that name. */
function readMalformed(
  tree: AnsibleTree,
  group: AnsibleGroup,
  given: Json,
  at: (...keys: string[]) => Place,
): void {
  const { name } = group;
  if (Object.keys(given).length === 0) {
    // `ansible-inventory` itself writes empty groups like this.
    return;
  }
  tree.addHost(name, name, at(name));
  for (const [variable, value] of entriesOf(given)) {
    tree.setGroupVariable(group, variable, readValue(value, at(name, variable)));
  }
  tree.report.found(
    'note',
    at(name),
    `${quoted(name)} has no hosts, vars or children: it is taken for one host, as by Ansible.`,
  );
}

function readHosts(tree: AnsibleTree, group: AnsibleGroup, hosts: unknown, place: Place): void {
  if (!Array.isArray(hosts) || hosts.some((host) => typeof host !== 'string' || host === '')) {
    tree.report.error(place, `hosts of the group ${quoted(group.name)} is a list of names.`);
    return;
  }
  for (const host of hosts as string[])
    tree.addHost(host, group.name, { ...place, path: hostPath(place, host) });
}

function hostPath(place: Place, host: string): string {
  return `${place.path ?? ''}\0${host}`;
}

function readValue(value: unknown, place: Place): Value {
  if (
    value === null ||
    typeof value === 'boolean' ||
    typeof value === 'number' ||
    typeof value === 'string'
  ) {
    return scalarValue(value, place);
  }
  return unusable(isObject(value) && '__ansible_vault' in value ? 'vault' : 'composite', place);
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function entriesOf(value: unknown): [string, unknown][] {
  return isObject(value) ? Object.entries(value) : [];
}
