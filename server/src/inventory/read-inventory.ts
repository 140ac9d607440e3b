// Converts an inventory's files to hosts that are valid as targets. Pure: it uses nothing but its arguments.
import { setImmediate } from 'node:timers/promises';
import {
  type Finding,
  type ImportedHost,
  ImportedHostSchema,
  type InventoryFile,
  type InventoryFormat,
  type InventoryOptions,
  LabelName,
  limits,
} from '@opsconductor/protocol';
import { schemaProblems } from '../validation/schema-problems.ts';
import { withUnstorableText } from '../validation/storable-text.ts';
import { hostsOfTree, type PlacedHost } from './ansible/hosts-of-tree.ts';
import { linesOfPaths } from './ansible/lines-of-paths.ts';
import { parseIni } from './ansible/parse-ini.ts';
import { parseJson } from './ansible/parse-json.ts';
import { parseYaml } from './ansible/parse-yaml.ts';
import { AnsibleTree } from './ansible/tree.ts';
import { readVarsFiles, sortFiles } from './ansible/vars-files.ts';
import { parseCsv } from './parse-csv.ts';
import { InventoryTooLarge, type Place, quoted, Report, withOthers } from './report.ts';

export interface ReadHost extends Omit<ImportedHost, 'key'> {
  key: string;
  file: string | null;
  line: number | null;
}

export interface ReadInventory {
  hosts: ReadHost[];
  /** If there are any, nothing can be planned. */
  errors: { file: string; line: number | null; message: string }[];
  errorCount: number;
  findings: Finding[];
  findingCount: number;
  unusedVariables: { name: string; count: number }[];
}

const maxUnused = 200;
const hostsAtATime = 100;
const parsers = { ansible_ini: parseIni, ansible_yaml: parseYaml, ansible_json: parseJson };

/** Reads all files of an inventory; all their problems are reported together. */
export function readInventory(
  format: Exclude<InventoryFormat, 'api'>,
  files: readonly InventoryFile[],
  options: InventoryOptions,
): ReadInventory {
  const report = new Report();
  let read: { hosts: PlacedHost[]; unused: ReadonlyMap<string, number> } = { hosts: [], unused: new Map() };
  try {
    refuseSamePaths(files, report);
    read = format === 'csv' ? readCsv(files, options, report) : readAnsible(format, files, options, report);
  } catch (error) {
    if (!(error instanceof InventoryTooLarge)) throw error;
    report.error(error.place, error.message);
  }
  const kept = read.hosts.map((host) => checked(host, options, report));
  return conclude(kept, report, files, read.unused);
}

/**
 * The same for hosts that are given as JSON; their places are their positions in the list. There can be fifty thousand,
 * and this runs in the server's own thread, so other work gets its turn in between.
 */
export async function checkHosts(
  hosts: readonly ImportedHost[],
  options: InventoryOptions,
): Promise<ReadInventory> {
  const report = new Report();
  const kept: PlacedHost[] = [];
  for (const [at, host] of hosts.entries()) {
    if (at % hostsAtATime === 0) await setImmediate();
    kept.push(checked({ host, place: { file: `hosts[${at}]`, line: null } }, options, report));
  }
  return conclude(kept, report, [], new Map());
}

function refuseSamePaths(files: readonly InventoryFile[], report: Report): void {
  const seen = new Set<string>();
  for (const { path } of files) {
    if (seen.has(path)) report.error({ file: path, line: null }, 'There are two files with this path.');
    seen.add(path);
  }
}

function readCsv(files: readonly InventoryFile[], options: InventoryOptions, report: Report) {
  const hosts = files.flatMap((file) => parseCsv(file.path, file.content, options, report));
  return { hosts, unused: new Map<string, number>() };
}

function readAnsible(
  format: keyof typeof parsers,
  files: readonly InventoryFile[],
  options: InventoryOptions,
  report: Report,
) {
  const labelVariables = options.labelVariables ?? [];
  const tree = new AnsibleTree(report, labelVariables);
  const sorted = sortFiles(files);
  if (sorted.inventories.length === 0) {
    report.error(
      { file: files[0]?.path ?? '', line: null },
      'There are only variables; also give the inventory itself.',
    );
  }
  for (const { path, content } of sorted.inventories) {
    if (content.startsWith('$ANSIBLE_VAULT;')) {
      report.error(
        { file: path, line: 1 },
        'The inventory is encrypted by Ansible Vault; give it decrypted.',
      );
    } else parsers[format](tree, path, content.replace(/^\ufeff/, ''));
  }
  readVarsFiles(tree, sorted);
  return { hosts: hostsOfTree(tree, labelVariables), unused: tree.unused };
}

/** Returns the host as it will be a target; what is wrong with it goes into the report. */
function checked({ host, place }: PlacedHost, options: InventoryOptions, report: Report): PlacedHost {
  const grouped = withGroups(host, options, report, place);
  checkHost(grouped, place, report);
  return { host: grouped, place };
}

function conclude(
  kept: readonly PlacedHost[],
  report: Report,
  files: readonly InventoryFile[],
  unused: ReadonlyMap<string, number>,
): ReadInventory {
  resolveLines(
    [
      ...[...report.errors, ...report.findings, ...kept].map(({ place }) => place),
      ...report.findings.flatMap(({ others }) => others),
    ],
    files,
  );
  const flat = ({ place, message }: { place: Place; message: string }) => ({
    file: place.file,
    line: place.line,
    message,
  });
  const isValid = report.errorCount === 0;
  return {
    hosts: isValid
      ? kept.map(({ host, place: { file, line } }) => ({ ...host, key: host.key ?? host.name, file, line }))
      : [],
    errors: report.errors.map(flat),
    errorCount: report.errorCount,
    findings: report.findings.map((found) => ({
      kind: found.kind,
      ...flat({ place: found.place, message: withOthers(found) }),
    })),
    findingCount: report.findingCount,
    unusedVariables: [...unused]
      .map(([name, count]) => ({ name: quoted(name).slice(1, -1), count }))
      .sort((a, b) => b.count - a.count || (a.name < b.name ? -1 : 1))
      .slice(0, maxUnused),
  };
}

/** Applies what the options say about groups to a host's groups. */
function withGroups(
  { groups = [], ...host }: ImportedHost,
  { groups: treatment = 'labels' }: InventoryOptions,
  report: Report,
  place: Place,
): ImportedHost {
  if (groups.length === 0 || treatment === 'none') return host;
  if (treatment === 'target_groups') return { ...host, groups };
  const own = host.labels ?? {};
  const names = groups.map((group) => `group/${group}`);
  const count = Object.keys(own).length + names.filter((name) => !Object.hasOwn(own, name)).length;
  if (count > limits.maxLabels) {
    const message = `The host ${quoted(host.name)} would have ${count} labels, and a target has ${limits.maxLabels} at most. Import its groups as target groups, or not at all.`;
    report.error(place, message);
    return host;
  }
  return { ...host, labels: { ...Object.fromEntries(names.map((name) => [name, ''])), ...own } };
}

function checkHost(host: ImportedHost, place: Place, report: Report): void {
  if (host.name === '') {
    report.error(place, 'The host has no name.');
    return;
  }
  const problems = withUnstorableText(schemaProblems(ImportedHostSchema, host), host);
  for (const { path, message, allowed } of problems) {
    const label = /^labels\.(.*)$/s.exec(path)?.[1];
    const [badName] = label === undefined ? [] : schemaProblems(LabelName, label);
    const where = path === '' ? '' : `${quoted(path).slice(1, -1)}: `;
    const what =
      badName === undefined ? `${where}${message}` : `${quoted(label ?? '')} can’t be the name of a label.`;
    const hint = badName?.allowed ?? allowed;
    report.error(
      place,
      `The host ${quoted(String(host.name))}: ${what}${hint === undefined ? '' : ` Allowed: ${hint}.`}`,
    );
  }
}

/** Looks up lines in JSON files only for what is reported, all at once. */
function resolveLines(places: readonly Place[], files: readonly InventoryFile[]): void {
  const wanted = new Map<string, Set<string>>();
  for (const { file, path } of places) {
    if (path === undefined) continue;
    const paths = wanted.get(file) ?? new Set();
    wanted.set(file, paths.add(path));
  }
  for (const [file, paths] of wanted) {
    const lines = linesOfPaths(files.find(({ path }) => path === file)?.content ?? '', paths);
    for (const place of places) {
      if (place.file === file && place.path !== undefined) place.line = lines.get(place.path) ?? null;
    }
  }
}
