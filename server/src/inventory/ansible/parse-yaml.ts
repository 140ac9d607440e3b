// Parses Ansible's YAML inventories: groups with `hosts`, `children` and `vars`, nested in each other.
import { limits } from '@opsconductor/protocol';
import { InventoryTooLarge, type Place, quoted } from '../report.ts';
import { expandRanges, HostPatternError, splitPort } from './host-pattern.ts';
import { readYaml, type YamlEntry, type YamlNode } from './read-yaml.ts';
import type { AnsibleGroup, AnsibleHost, AnsibleTree } from './tree.ts';
import { unusable, type Value } from './values.ts';

const sections = ['vars', 'children', 'hosts'];
const maxDepth = 64;

/** Reads one file into the tree; problems go into the tree's report. */
export function parseYaml(tree: AnsibleTree, file: string, text: string): void {
  const before = tree.report.errorCount;
  const root = readYaml(file, text, tree.report);
  if (tree.report.errorCount > before) return;
  if (root === undefined) {
    tree.report.error({ file, line: null }, 'The file is empty.');
    return;
  }
  if (root.kind !== 'map') {
    tree.report.error(root.place, 'A YAML inventory is a mapping of groups: all: hosts: …');
    return;
  }
  if (root.entries.some((entry) => entry.key === 'plugin')) {
    const message =
      'This configures a plugin that makes an inventory. Let Ansible run it: ansible-inventory --list, and import that as ansible_json.';
    tree.report.error(root.place, message);
    return;
  }
  for (const entry of root.entries) readGroup(tree, entry, 1);
}

/** Returns the name of the group; undefined, with a report, if it is not a group. */
function readGroup(tree: AnsibleTree, { key, node, place }: YamlEntry, depth: number): string | undefined {
  // Through aliases, groups can be nested deeper than the text is.
  if (depth > maxDepth)
    throw new InventoryTooLarge(place, `Groups are nested deeper than ${maxDepth} levels.`);
  if (key === undefined || key === '') {
    tree.report.error(place, 'The name of a group is text; put it in quotes.');
    return undefined;
  }
  if (node.kind !== 'map' && !isNull(node)) {
    tree.report.error(place, `The group ${quoted(key)} is a mapping of hosts, children and vars.`);
    return key;
  }
  const group = tree.addGroup(key, place);
  for (const section of node.kind === 'map' ? node.entries : []) readSection(tree, group, section, depth);
  return key;
}

function readSection(tree: AnsibleTree, group: AnsibleGroup, section: YamlEntry, depth: number): void {
  if (section.key === undefined || !sections.includes(section.key)) {
    const message = `${quoted(section.key ?? '')} in the group ${quoted(group.name)} is ignored: only hosts, children and vars have a meaning there.`;
    tree.report.found('note', section.place, message);
    return;
  }
  const entries = entriesOf(section.node, section.place);
  if (entries === undefined) {
    tree.report.error(section.place, `${section.key} of the group ${quoted(group.name)} is a mapping.`);
    return;
  }
  for (const entry of entries) {
    if (section.key === 'vars') tree.setGroupVariable(group, nameOf(entry), variableOf(entry));
    else if (section.key === 'hosts') readHosts(tree, group, entry);
    else {
      const child = readGroup(tree, entry, depth + 1);
      if (child !== undefined) tree.addChild(group.name, child, entry.place);
    }
  }
}

/** A text alone stands for a mapping from that text to nothing. */
function entriesOf(node: YamlNode, place: Place): YamlEntry[] | undefined {
  if (node.kind === 'map') return node.entries;
  if (isNull(node)) return [];
  if (node.kind !== 'scalar' || typeof node.value.scalar !== 'string') return undefined;
  const nothing: YamlNode = { kind: 'map', entries: [], place };
  return [{ key: node.value.scalar, node: nothing, place }];
}

function readHosts(tree: AnsibleTree, group: AnsibleGroup, { key, node, place }: YamlEntry): void {
  if (key === undefined || key === '') {
    tree.report.error(place, 'The name of a host is text; put it in quotes.');
    return;
  }
  if (node.kind !== 'map' && !isNull(node)) {
    tree.report.error(place, `The host ${quoted(key)} is a mapping of variables.`);
    return;
  }
  let hosts: AnsibleHost[];
  try {
    const { pattern, port } = splitPort(key);
    hosts = expandRanges(pattern, limits.maxInventoryHosts).map((name) =>
      tree.addHost(name, group.name, place, port),
    );
  } catch (error) {
    if (!(error instanceof HostPatternError)) throw error;
    tree.report.error(place, error.message);
    return;
  }
  for (const entry of node.kind === 'map' ? node.entries : []) {
    tree.setVariableOfHosts(hosts, nameOf(entry), variableOf(entry));
  }
}

/** Reads the variables of a file in group_vars or host_vars. */
export function readVariables(
  tree: AnsibleTree,
  file: string,
  text: string,
): { name: string; value: Value }[] {
  const root = readYaml(file, text, tree.report);
  if (root === undefined || isNull(root)) return [];
  if (root.kind !== 'map') {
    tree.report.error(root.place, 'A file of variables is a mapping: name: value.');
    return [];
  }
  return root.entries.map((entry) => ({ name: nameOf(entry), value: variableOf(entry) }));
}

function nameOf(entry: YamlEntry): string {
  return entry.key ?? '';
}

function variableOf({ node, place }: YamlEntry): Value {
  return node.kind === 'scalar' ? { ...node.value, place } : unusable('composite', place);
}

function isNull(node: YamlNode): boolean {
  return node.kind === 'scalar' && node.value.scalar === null;
}
