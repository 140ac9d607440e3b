// The groups, hosts and variables of an Ansible inventory, whatever its format. Everything is limited: sizes are
// counted before anything is built.
import { limits } from '@opsconductor/protocol';
import { InventoryTooLarge, type Place, quoted, type Report } from '../report.ts';
import { scalarValue, textOf, type Value, whyUnusable } from './values.ts';
import { carried, treatmentOf } from './variables.ts';

const maxAnsibleGroups = 5_000;
/** Mentions of groups, hosts and variables. */
const maxMentions = 2_000_000;

export interface AnsibleGroup {
  name: string;
  place: Place;
  /** Where each child is named, by its name. */
  children: Map<string, Place>;
  priority: number;
  variables: Map<string, Value>;
  /** From `group_vars`. */
  fileVariables: Map<string, Value>;
}

export interface AnsibleHost {
  name: string;
  place: Place;
  /** Groups that it is directly in. */
  groups: Set<string>;
  variables: Map<string, Value>;
  /** From `host_vars`. */
  fileVariables: Map<string, Value>;
}

export class AnsibleTree {
  readonly groups = new Map<string, AnsibleGroup>();
  readonly hosts = new Map<string, AnsibleHost>();
  /** How often each variable is set that has no meaning here. */
  readonly unused = new Map<string, number>();
  readonly report: Report;
  readonly #labels: ReadonlySet<string>;
  #mentions = 0;

  constructor(report: Report, labelVariables: Iterable<string>) {
    this.report = report;
    this.#labels = new Set(labelVariables);
    for (const name of ['all', 'ungrouped']) this.addGroup(name, { file: '', line: null });
  }

  addGroup(name: string, place: Place): AnsibleGroup {
    this.mention(place);
    const known = this.groups.get(name);
    if (known !== undefined) return known;
    if (this.groups.size >= maxAnsibleGroups) {
      throw new InventoryTooLarge(
        place,
        `An inventory may have ${maxAnsibleGroups} groups; this one has more.`,
      );
    }
    const group: AnsibleGroup = {
      name,
      place,
      children: new Map(),
      priority: 1,
      variables: new Map(),
      fileVariables: new Map(),
    };
    this.groups.set(name, group);
    return group;
  }

  /** As in Ansible, a port counts only where the host is first named. */
  addHost(name: string, group: string, place: Place, port?: number): AnsibleHost {
    this.mention(place);
    let host = this.hosts.get(name);
    if (host === undefined) {
      if (this.hosts.size >= limits.maxInventoryHosts) {
        throw new InventoryTooLarge(
          place,
          `An inventory may have ${limits.maxInventoryHosts} hosts; this one has more.`,
        );
      }
      host = { name, place, groups: new Set(), variables: new Map(), fileVariables: new Map() };
      this.hosts.set(name, host);
      if (port !== undefined) host.variables.set('ansible_port', scalarValue(port, place));
    }
    host.groups.add(group);
    return host;
  }

  addChild(parent: string, child: string, place: Place): void {
    this.mention(place);
    this.addGroup(parent, place).children.set(this.addGroup(child, place).name, place);
  }

  setGroupVariable(group: AnsibleGroup, name: string, value: Value, isOfFile = false): void {
    if (name === 'ansible_group_priority' && !isOfFile) {
      const priority = Number(textOf(value));
      if (Number.isSafeInteger(priority)) group.priority = priority;
      else this.report.error(value.place, 'ansible_group_priority is a whole number.');
      return;
    }
    if (this.#keeps(name, value, 1)) (isOfFile ? group.fileVariables : group.variables).set(name, value);
  }

  /** Sets it for all hosts of one line, so that a report about it is made only once. */
  setVariableOfHosts(hosts: readonly AnsibleHost[], name: string, value: Value, isOfFile = false): void {
    const isKept = this.#keeps(name, value, hosts.length);
    if (!isKept) return;
    for (const host of hosts) {
      this.mention(value.place);
      (isOfFile ? host.fileVariables : host.variables).set(name, value);
    }
  }

  /** Returns whether the variable is used; reports it if not. */
  #keeps(name: string, value: Value, count: number): boolean {
    this.mention(value.place);
    const treatment = treatmentOf(name, this.#labels);
    switch (treatment.use) {
      case 'none':
        this.unused.set(name, (this.unused.get(name) ?? 0) + count);
        return false;
      case 'key_file':
        this.report.found('dropped', value.place, keyFileMessage(name, value));
        return false;
      case 'drop':
        this.report.found(
          'dropped',
          value.place,
          `${quoted(name)} can’t be carried over: ${treatment.reason}.`,
        );
        return false;
      default:
        if (value.unusable !== undefined && !addresses.has(name)) {
          const why = whyUnusable[value.unusable];
          this.report.found('dropped', value.place, `${quoted(name)} can’t be carried over: ${why}.`);
        }
        return true;
    }
  }

  /** Counts one thing that the files mention. */
  mention(place: Place): void {
    this.#mentions += 1;
    if (this.#mentions > maxMentions) {
      throw new InventoryTooLarge(place, `The inventory mentions more than ${maxMentions} things; split it.`);
    }
  }
}

/** A host without a usable address is left out, which is reported for the host itself. */
const addresses = new Set<string>([...carried.ssh.host, ...carried.winrm.host, 'ansible_connection']);

function keyFileMessage(name: string, value: Value): string {
  const file = textOf(value)?.split(/[\\/]/).at(-1);
  const named = file === undefined || file === '' ? 'of this key' : `of the key in ${quoted(file)}`;
  return `${quoted(name)} can’t be carried over: private keys are not taken from inventories. Create a credential ${named}, and give it to the segment, a target group or the target.`;
}
