// Converts the hosts of an Ansible inventory: address, connection, user, groups and labels.
import type { ImportedHost } from '@opsconductor/protocol';
import { type Place, quoted } from '../report.ts';
import { type ResolvedHost, resolveTree } from './resolve-tree.ts';
import type { AnsibleTree } from './tree.ts';
import { textOf, type Value, whyUnusable } from './values.ts';
import { carried } from './variables.ts';

export interface PlacedHost {
  host: ImportedHost;
  place: Place;
}

type Connection = { plugin: keyof typeof carried; protocol: 'ssh' | 'winrm' | undefined };

const connections: Record<string, Connection> = {
  smart: { plugin: 'ssh', protocol: undefined },
  ssh: { plugin: 'ssh', protocol: 'ssh' },
  paramiko: { plugin: 'ssh', protocol: 'ssh' },
  paramiko_ssh: { plugin: 'ssh', protocol: 'ssh' },
  winrm: { plugin: 'winrm', protocol: 'winrm' },
  psrp: { plugin: 'winrm', protocol: 'winrm' },
};

/** Returns the hosts in the order of the files. Those that can't be imported are left out and reported. */
export function hostsOfTree(tree: AnsibleTree, labelVariables: readonly string[]): PlacedHost[] {
  const resolved = resolveTree(tree) ?? [];
  return resolved.flatMap((one) => {
    const host = hostOf(tree, one, labelVariables);
    return host === undefined ? [] : [{ host, place: one.host.place }];
  });
}

function hostOf(
  tree: AnsibleTree,
  { host: { name, place }, groups, variables }: ResolvedHost,
  labelVariables: readonly string[],
): ImportedHost | undefined {
  const leaveOut = (where: Place, why: string) => {
    tree.report.found('left_out', where, `The host ${quoted(name)} is left out: ${why}.`);
    return undefined;
  };
  const connection = connectionOf(variables.get('ansible_connection'));
  if (typeof connection === 'string') {
    return leaveOut(variables.get('ansible_connection')?.place ?? place, connection);
  }
  const last = (names: readonly string[]) => names.flatMap((one) => variables.get(one) ?? []).at(-1);
  const names = carried[connection.plugin];
  const address = last(names.host);
  if (address?.unusable !== undefined) {
    return leaveOut(
      address.place,
      `its address can’t be carried over because ${whyUnusable[address.unusable]}`,
    );
  }
  const port = last(names.port);
  const shell = textOf(variables.get('ansible_shell_type') ?? { scalar: null, unusable: undefined, place });
  const isWindows = connection.protocol === 'winrm' || shell === 'powershell' || shell === 'cmd';
  const username = textIn(last(names.user));
  const timeout = timeoutOf(tree, last(names.timeout));
  const labels = labelsOf(variables, labelVariables);
  return {
    name,
    host: textIn(address) ?? name,
    ...(port?.scalar === undefined || port.scalar === null ? {} : { port: portOf(port) }),
    ...(isWindows ? { operatingSystem: 'windows' as const } : {}),
    ...(Object.keys(labels).length === 0 ? {} : { labels }),
    ...(groups.length === 0 ? {} : { groups }),
    settings: {
      ...(connection.protocol === undefined ? {} : { protocol: connection.protocol }),
      ...(username === undefined ? {} : { username }),
      ...(timeout === undefined ? {} : { connect_timeout: timeout }),
    },
  };
}

/** Returns the connection, or why the host can't be imported. */
function connectionOf(value: Value | undefined): Connection | string {
  if (value === undefined) return { plugin: 'ssh', protocol: undefined };
  if (value.unusable !== undefined)
    return `ansible_connection can’t be carried over because ${whyUnusable[value.unusable]}`;
  const name = (textOf(value) ?? 'smart').replace(/^ansible\.builtin\./, '');
  const known = Object.hasOwn(connections, name) ? connections[name] : undefined;
  if (known !== undefined) return known;
  if (name === 'local')
    return 'ansible_connection=local runs on the machine where Ansible is, which is not a target';
  return `the connection ${quoted(name)} is neither SSH nor WinRM`;
}

function textIn(value: Value | undefined): string | undefined {
  const text = value === undefined ? undefined : textOf(value);
  return text === '' ? undefined : text;
}

/** What is not a number stays unchanged: the later check of the hosts reports it, with what is allowed. */
function portOf({ scalar }: Value): number {
  const isDigits = typeof scalar === 'string' && /^[0-9]{1,6}$/.test(scalar);
  return (isDigits ? Number(scalar) : scalar) as number;
}

function timeoutOf(tree: AnsibleTree, value: Value | undefined): number | undefined {
  if (value?.scalar === undefined || value.scalar === null) return undefined;
  const seconds = Number(value.scalar);
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= 300) return seconds;
  tree.report.found(
    'dropped',
    value.place,
    'The timeout can’t be carried over: it is a whole number of seconds from 1 to 300.',
  );
  return undefined;
}

function labelsOf(variables: ReadonlyMap<string, Value>, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    names.flatMap((name) => {
      const value = variables.get(name);
      const text = value === undefined ? undefined : textOf(value);
      return text === undefined ? [] : [[name, text]];
    }),
  );
}
