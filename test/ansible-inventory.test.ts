// Reads realistic inventories with our code and with Ansible itself: both must find the same hosts, groups and
// connections.
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, test } from 'vitest';
import { type ReadHost, readInventory } from '../server/src/inventory/read-inventory.ts';
import { ensureAnsible } from './support/packages.ts';

const folder = join(import.meta.dirname, 'inventories');
const home = mkdtempSync(join(tmpdir(), 'opsconductor-ansible-'));
const ansible = await ensureAnsible({ print: () => {} });
const missing = 'missing' in ansible ? `comparison with Ansible: ${ansible.missing}` : undefined;
afterAll(() => rmSync(home, { recursive: true, force: true }));

type Variables = Record<string, unknown>;
interface Listed {
  _meta: { hostvars: Record<string, Variables> };
  [group: string]: { hosts?: string[]; children?: string[] } | { hostvars: Record<string, Variables> };
}

/** Variables whose values are compared, as labels. */
const labelVariables = [
  'build',
  'datacenter',
  'debug',
  'http_port',
  'maintenance',
  'note',
  'on_call',
  'owner',
  'rack',
  'ratio',
  'region',
  'shards',
  'site',
  'size',
  'spot',
  'tier',
  'window',
  'zone',
];

for (const [format, name, source, inventory] of [
  ['ansible_ini', 'ini-production', 'hosts', 'hosts'],
  ['ansible_yaml', 'yaml-site', 'site.yml', 'site.yml'],
  ['ansible_json', 'json-cloud', 'list.sh', 'inventory.json'],
] as const) {
  test(`${name} gives the same result as ansible-inventory`, async ({ skip }) => {
    if (missing !== undefined) skip(missing);
    const theirs = await listByAnsible(join(folder, name, source));
    const ours = readInventory(format, filesOf(join(folder, name), inventory), {
      groups: 'target_groups',
      labelVariables,
    });
    expect(ours.errors).toEqual([]);
    expect(Object.keys(theirs).length).toBeGreaterThan(2);
    expect(Object.fromEntries(ours.hosts.map((host) => [host.name, ofOurs(host)]))).toEqual(theirs);
  });
}

interface Compared {
  host: string;
  port: unknown;
  user: unknown;
  protocol: string;
  groups: string[];
  labels: Record<string, string>;
}

function ofOurs({ host, port, settings = {}, groups = [], labels = {} }: ReadHost): Compared {
  return { host, port, user: settings.username, protocol: settings.protocol ?? 'ssh', groups, labels };
}

async function listByAnsible(path: string): Promise<Record<string, Compared>> {
  if ('missing' in ansible) return {};
  const env = {
    PATH: process.env.PATH,
    HOME: home,
    LC_ALL: 'C.UTF-8',
    ...ansible.env,
  };
  const { stdout } = await promisify(execFile)(ansible.path, ['-i', path, '--list'], { env });
  const { _meta, ...groups } = JSON.parse(stdout) as Listed;
  const tree = groups as Record<string, { hosts?: string[]; children?: string[] }>;
  const groupsOf = new Map<string, Set<string>>();
  const put = (name: string, way: string[]) => {
    const names = [...way, name];
    for (const host of tree[name]?.hosts ?? []) {
      const known = groupsOf.get(host) ?? new Set();
      groupsOf.set(host, known);
      for (const one of names) if (one !== 'all' && one !== 'ungrouped') known.add(one);
    }
    for (const child of tree[name]?.children ?? []) put(child, names);
  };
  put('all', []);
  return Object.fromEntries(
    [...groupsOf].map(([host, names]) => [
      host,
      compared(host, [...names].sort(), _meta.hostvars[host] ?? {}),
    ]),
  );
}

function compared(name: string, groups: string[], variables: Variables): Compared {
  const isWinrm = variables.ansible_connection === 'winrm';
  const special = isWinrm ? 'winrm' : 'ssh';
  const of = (what: string) => variables[`ansible_${special}_${what}`] ?? variables[`ansible_${what}`];
  const labels = labelVariables.flatMap((label) =>
    variables[label] === undefined ? [] : [[label, String(variables[label])]],
  );
  return {
    host: String(of('host') ?? name),
    port: of('port'),
    user: of('user'),
    protocol: isWinrm ? 'winrm' : 'ssh',
    groups,
    labels: Object.fromEntries(labels),
  };
}

function filesOf(root: string, inventory: string): { path: string; content: string }[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .filter((path) => path === inventory || path.includes('_vars/'))
    .map((path) => ({ path, content: readFileSync(join(root, path), 'utf8') }));
}
