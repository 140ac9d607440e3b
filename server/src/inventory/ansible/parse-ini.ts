// Parses Ansible's INI inventories: sections of hosts, of child groups (`[web:children]`) and of variables
// (`[web:vars]`). Every unreadable line is reported, and the rest is still read.
import { limits } from '@opsconductor/protocol';
import { type Place, quoted } from '../report.ts';
import { expandRanges, HostPatternError, splitPort } from './host-pattern.ts';
import { ShellWordsError, splitShellWords } from './shell-words.ts';
import type { AnsibleTree } from './tree.ts';
import { readPythonLiteral } from './values.ts';

type Section = { group: string; kind: 'hosts' | 'children' | 'vars' };

/** Reads one file into the tree; problems go into the tree's report. */
export function parseIni(tree: AnsibleTree, file: string, text: string): void {
  let section: Section = { group: 'ungrouped', kind: 'hosts' };
  const declared = new Set(tree.groups.keys());
  /** Groups that must be declared somewhere in the file, and where each is first named. */
  const awaited = new Map<string, { place: Place; message: string }>();
  for (const [at, whole] of text.split(/\r\n|[\n\r\u2028\u2029]/).entries()) {
    const line = whole.trim();
    if (line === '' || line.startsWith('#') || line.startsWith(';')) continue;
    const place = { file, line: at + 1 };
    const header = /^\[([^:\]\s]+)(?::(\w+))?\]\s*(?:#.*)?$/.exec(line);
    if (header !== null) {
      section = readSection(tree, header, place) ?? section;
      if (section.kind !== 'vars') declared.add(section.group);
      else if (!declared.has(section.group) && !awaited.has(section.group)) {
        const message = `Variables are set for the group ${quoted(section.group)}, which the file does not have.`;
        awaited.set(section.group, { place, message });
      }
    } else if (line.startsWith('[') && line.endsWith(']')) {
      tree.report.error(
        place,
        'This is not a section: write [group], [group:children] or [group:vars], without spaces.',
      );
    } else if (section.kind === 'hosts') readHosts(tree, section.group, line, place);
    else if (section.kind === 'vars') readVariable(tree, section.group, line, place);
    else {
      const child = /^([^:\]\s]+)\s*(?:#.*)?$/.exec(line)?.[1];
      if (child === undefined) tree.report.error(place, 'A line of child groups is the name of one group.');
      else {
        tree.addChild(section.group, child, place);
        const message = `The child group ${quoted(child)} is not in the file.`;
        if (!declared.has(child) && !awaited.has(child)) awaited.set(child, { place, message });
      }
    }
  }
  for (const [group, { place, message }] of awaited)
    if (!declared.has(group)) tree.report.error(place, message);
}

function readSection(tree: AnsibleTree, header: RegExpExecArray, place: Place): Section | undefined {
  const [, group = '', kind = 'hosts'] = header;
  if (kind !== 'hosts' && kind !== 'children' && kind !== 'vars') {
    tree.report.error(place, `There is no section of ${quoted(kind)}: write hosts, children or vars.`);
    return undefined;
  }
  tree.addGroup(group, place);
  return { group, kind };
}

function readHosts(tree: AnsibleTree, group: string, line: string, place: Place): void {
  let words: string[];
  let names: string[];
  let port: number | undefined;
  try {
    words = splitShellWords(line);
    const split = splitPort(words[0] ?? '');
    port = split.port;
    names = expandRanges(split.pattern, limits.maxInventoryHosts);
  } catch (error) {
    if (!(error instanceof ShellWordsError || error instanceof HostPatternError)) throw error;
    tree.report.error(place, error.message);
    return;
  }
  if (words[0] === '---') {
    tree.report.error(place, 'This begins like YAML; choose the format ansible_yaml.');
    return;
  }
  const hosts = names.map((name) => tree.addHost(name, group, place, port));
  for (const word of words.slice(1)) {
    const equals = word.indexOf('=');
    if (equals < 1) {
      tree.report.error(place, 'After the name of a host come variables, as name=value.');
      return;
    }
    const name = word.slice(0, equals);
    const value = readPythonLiteral(word.slice(equals + 1), place);
    tree.setVariableOfHosts(hosts, name, value);
  }
}

function readVariable(tree: AnsibleTree, group: string, line: string, place: Place): void {
  const equals = line.indexOf('=');
  if (equals < 1) {
    tree.report.error(place, 'A variable is written as name = value.');
    return;
  }
  const value = readPythonLiteral(line.slice(equals + 1).trim(), place);
  tree.setGroupVariable(tree.addGroup(group, place), line.slice(0, equals).trim(), value);
}
