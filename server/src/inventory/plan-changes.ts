// Says what an import would do to each target, host by host. Pure: applying a plan computes it again and compares.
import { setImmediate } from 'node:timers/promises';
import {
  type Adoption,
  type FieldChange,
  type InheritedSettings,
  type InventoryPlanItem,
  type Labels,
  limits,
  type OperatingSystem,
  type PlanCounts,
  type TargetSettings,
} from '@opsconductor/protocol';
import { connectionOf } from '../targets/connection-of.ts';

const hostsAtATime = 500;

/** A host of the inventory, in an existing segment. */
export interface WantedHost {
  key: string;
  name: string;
  host: string;
  segmentId: number;
  segmentName: string;
  port?: number;
  operatingSystem?: OperatingSystem;
  description?: string;
  labels?: Labels;
  groups?: string[];
  settings?: TargetSettings;
  file: string | null;
  line: number | null;
}

/** Names of what the inventory gave a target when it was last applied. */
export interface Given {
  fields: string[];
  labels: string[];
  groups: string[];
  /** Whether the import deactivated the target because it was gone. */
  deactivated?: boolean;
}

export interface TargetState {
  name: string;
  host: string;
  port: number | null;
  operatingSystem: OperatingSystem;
  description: string;
  labels: Labels;
  settings: TargetSettings;
  isActive: boolean;
}

export interface CurrentTarget extends TargetState {
  id: number;
  segmentId: number;
  segmentName: string;
  inventoryId: number | null;
  /** Name of another inventory that it belongs to, if the caller may see that. */
  inventoryName: string | null;
  inventoryKey: string | null;
  given: Given | null;
  isGone: boolean;
  /** Names of the target groups that list it, and of those that exclude it. */
  listed: string[];
  excluded: string[];
  /** Settings that it inherits. */
  inherited: InheritedSettings;
  acceptedHostKeys: number;
}

/** What to write. The groups are exactly those that should list it. */
export interface Write {
  state: TargetState;
  given: Given;
  key: string;
  segmentId: number;
  join: string[];
  leave: string[];
}

export interface PlannedItem {
  item: InventoryPlanItem;
  wanted: WantedHost | null;
  target: CurrentTarget | null;
  /** Undefined if there is nothing to write, and for targets that are gone or in conflict. */
  write: Write | undefined;
}

interface Match {
  target: CurrentTarget | null;
  adoptedFrom: string | null;
  conflict: InventoryPlanItem['conflict'];
}

const placeKey = (segmentId: number, text: string) => `${segmentId}\0${text}`;

/**
 * Returns the items in the order of the files, then the targets that are gone, by name. There can be fifty thousand, and
 * this runs in the server's own thread, so other work gets its turn in between.
 */
export async function planChanges(
  inventoryId: number,
  adopt: Adoption,
  wanted: readonly WantedHost[],
  current: readonly CurrentTarget[],
): Promise<PlannedItem[]> {
  const matches = new Matching(inventoryId, adopt, wanted, current).matches();
  const items: PlannedItem[] = [];
  for (const [at, host] of wanted.entries()) {
    if (at % hostsAtATime === 0) await setImmediate();
    items.push(itemOf(host, matches[at] ?? { target: null, adoptedFrom: null, conflict: null }));
  }
  await setImmediate();
  const keys = new Set(wanted.map((host) => placeKey(host.segmentId, host.key)));
  const matched = new Set(matches.map(({ target }) => target));
  const gone = current.filter(
    (target) =>
      target.inventoryId === inventoryId &&
      !matched.has(target) &&
      !keys.has(placeKey(target.segmentId, target.inventoryKey ?? '')),
  );
  gone.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.id - b.id));
  for (const [at, target] of gone.entries()) {
    if (at % hostsAtATime === 0) await setImmediate();
    items.push(goneItem(target));
  }
  return items;
}

export function countPlan(items: readonly PlannedItem[]): PlanCounts {
  const counts = {
    create: 0,
    update: 0,
    unchanged: 0,
    gone: 0,
    conflict: 0,
    adopted: 0,
    forgottenHostKeys: 0,
  };
  for (const { item } of items) {
    counts[item.action] += 1;
    if (item.adoptedFrom !== null) counts.adopted += 1;
    if (item.forgottenHostKeys > 0) counts.forgottenHostKeys += 1;
  }
  return counts;
}

/** Finds the target of each host: first by the key that the inventory knows it by, then by name. */
class Matching {
  readonly #inventoryId: number;
  readonly #adopt: Adoption;
  readonly #wanted: readonly WantedHost[];
  readonly #byKey = new Map<string, CurrentTarget>();
  readonly #byName = new Map<string, CurrentTarget>();
  readonly #wantedKeys: ReadonlySet<string>;

  constructor(
    inventoryId: number,
    adopt: Adoption,
    wanted: readonly WantedHost[],
    current: readonly CurrentTarget[],
  ) {
    this.#inventoryId = inventoryId;
    this.#adopt = adopt;
    this.#wanted = wanted;
    this.#wantedKeys = new Set(wanted.map((host) => placeKey(host.segmentId, host.key)));
    for (const target of current) {
      this.#byName.set(placeKey(target.segmentId, target.name), target);
      if (target.inventoryId === inventoryId && target.inventoryKey !== null) {
        this.#byKey.set(placeKey(target.segmentId, target.inventoryKey), target);
      }
    }
  }

  matches(): Match[] {
    const twice = this.#namedTwice();
    const matches = this.#wanted.map((host): Match => twice.get(host) ?? this.#matchOf(host));
    const moved = new Set<CurrentTarget>();
    for (const [at, { target, conflict }] of matches.entries()) {
      if (target !== null && conflict === null && target.name !== this.#wanted[at]?.name) moved.add(target);
    }
    return matches.map((match, at) => {
      const host = this.#wanted[at];
      const holder = host && this.#byName.get(placeKey(host.segmentId, host.name));
      if (match.conflict !== null || holder === undefined || holder === match.target || moved.has(holder)) {
        return match;
      }
      const message = 'Another target of the segment has this name; rename or delete that one first.';
      return { ...match, conflict: { reason: 'name_taken', message } };
    });
  }

  #namedTwice(): Map<WantedHost, Match> {
    const twice = new Map<WantedHost, Match>();
    for (const textOf of [(host: WantedHost) => host.name, (host: WantedHost) => host.key]) {
      const first = new Map<string, WantedHost>();
      for (const host of this.#wanted) {
        const other = first.get(placeKey(host.segmentId, textOf(host)));
        if (other === undefined) first.set(placeKey(host.segmentId, textOf(host)), host);
        else {
          twice.set(host, duplicate(other));
          twice.set(other, twice.get(other) ?? duplicate(host));
        }
      }
    }
    return twice;
  }

  #matchOf(host: WantedHost): Match {
    const own = this.#byKey.get(placeKey(host.segmentId, host.key));
    if (own !== undefined) return { target: own, adoptedFrom: null, conflict: null };
    const target = this.#byName.get(placeKey(host.segmentId, host.name));
    if (target === undefined) return { target: null, adoptedFrom: null, conflict: null };
    if (target.inventoryId === this.#inventoryId) {
      // The same name under another key is the same host, unless the inventory still has the old key as well.
      const isOther = this.#wantedKeys.has(placeKey(target.segmentId, target.inventoryKey ?? ''));
      return { target: isOther ? null : target, adoptedFrom: null, conflict: null };
    }
    if (target.inventoryId === null) {
      if (this.#adopt !== 'none') return { target, adoptedFrom: 'by hand', conflict: null };
      const message = 'A target of this name was created by hand. Take it over, or rename one of the two.';
      return { target, adoptedFrom: null, conflict: { reason: 'by_hand', message } };
    }
    const owner = target.inventoryName ?? 'another inventory';
    if (this.#adopt === 'any') return { target, adoptedFrom: owner, conflict: null };
    const message = `A target of this name belongs to ${owner === 'another inventory' ? owner : `the inventory “${owner}”`}. Take it over, or rename one of the two.`;
    return { target, adoptedFrom: null, conflict: { reason: 'other_inventory', message } };
  }
}

function duplicate(other: WantedHost): Match {
  const where = other.line === null ? other.file : `${other.file}:${other.line}`;
  const message = `The inventory names it twice, also at ${where}.`;
  return { target: null, adoptedFrom: null, conflict: { reason: 'duplicate', message } };
}

function itemOf(wanted: WantedHost, { target, adoptedFrom, conflict }: Match): PlannedItem {
  const { name, host, segmentId, segmentName, file, line } = wanted;
  const base = { name, host, segmentId, segmentName, targetId: target?.id ?? null, file, line };
  const inConflict = (why: InventoryPlanItem['conflict']): PlannedItem => ({
    item: {
      ...base,
      action: 'conflict',
      changes: [],
      adoptedFrom: null,
      forgottenHostKeys: 0,
      conflict: why,
    },
    wanted,
    target,
    write: undefined,
  });
  if (conflict !== null) return inConflict(conflict);
  const { changes, write } = compare(wanted, target);
  const labelCount = Object.keys(write.state.labels).length;
  if (labelCount > limits.maxLabels) {
    const message = `With the labels that people gave it, it would have ${labelCount}; a target has ${limits.maxLabels} at most.`;
    return inConflict({ reason: 'too_many_labels', message });
  }
  const action =
    target === null ? 'create' : changes.length > 0 || adoptedFrom !== null ? 'update' : 'unchanged';
  const isKept =
    action === 'unchanged' &&
    target !== null &&
    !target.isGone &&
    target.inventoryKey === write.key &&
    isSameGiven(target.given, write.given);
  return {
    item: {
      ...base,
      action,
      changes,
      adoptedFrom,
      forgottenHostKeys: target === null ? 0 : forgottenHostKeys(target, write.state),
      conflict: null,
    },
    wanted,
    target,
    write: isKept ? undefined : write,
  };
}

function isSameGiven(a: Given | null, b: Given): boolean {
  if (a === null || a.deactivated === true) return false;
  return (['fields', 'labels', 'groups'] as const).every((name) => a[name].join('\0') === b[name].join('\0'));
}

function goneItem(target: CurrentTarget): PlannedItem {
  const { id, name, host, segmentId, segmentName } = target;
  return {
    item: {
      action: 'gone',
      name,
      host,
      segmentId,
      segmentName,
      targetId: id,
      changes: [],
      adoptedFrom: null,
      forgottenHostKeys: 0,
      conflict: null,
      file: null,
      line: null,
    },
    wanted: null,
    target,
    write: undefined,
  };
}

/** Settings that an inventory can give. It leaves the others alone. */
const settingNames = ['protocol', 'username', 'connect_timeout', 'keepalive_interval'] as const;
const newTarget = { port: null, operatingSystem: 'linux', description: '' } as const;

/**
 * What the inventory gives wins; what it gave last time but no longer gives is removed; everything else comes from
 * people and stays.
 */
function compare(wanted: WantedHost, target: CurrentTarget | null): { changes: FieldChange[]; write: Write } {
  const given: Given = { fields: [], labels: Object.keys(wanted.labels ?? {}).sort(), groups: [] };
  const had = target?.given ?? { fields: [], labels: [], groups: [] };
  const field = <T>(name: string, value: T | undefined, now: T | undefined, otherwise: T): T => {
    if (value !== undefined) given.fields.push(name);
    return value ?? (now === undefined || had.fields.includes(name) ? otherwise : now);
  };
  const settings: TargetSettings = Object.fromEntries(
    Object.entries(target?.settings ?? {}).filter(([name]) => !settingNames.some((one) => one === name)),
  );
  for (const name of settingNames) {
    const value = field(`settings.${name}`, wanted.settings?.[name], target?.settings[name], undefined);
    if (value !== undefined) Object.assign(settings, { [name]: value });
  }
  const state: TargetState = {
    name: wanted.name,
    host: wanted.host,
    port: field<number | null>('port', wanted.port, target?.port, newTarget.port),
    operatingSystem: field(
      'operatingSystem',
      wanted.operatingSystem,
      target?.operatingSystem,
      newTarget.operatingSystem,
    ),
    description: field('description', wanted.description, target?.description, newTarget.description),
    labels: labelsAfter(wanted.labels ?? {}, target?.labels ?? {}, had.labels),
    settings,
    isActive: target === null || target.isActive || had.deactivated === true,
  };
  const groups = [...(wanted.groups ?? [])].sort().filter((name) => target?.excluded.includes(name) !== true);
  given.groups = groups;
  const join = groups.filter((name) => target?.listed.includes(name) !== true);
  const leave = had.groups.filter((name) => !groups.includes(name) && target?.listed.includes(name) === true);
  const changes = [
    ...fieldChanges(target, state),
    ...join.map((name) => ({ field: `groups.${name}`, from: null, to: true })),
    ...leave.map((name) => ({ field: `groups.${name}`, from: true, to: null })),
  ];
  return { changes, write: { state, given, key: wanted.key, segmentId: wanted.segmentId, join, leave } };
}

function labelsAfter(wanted: Labels, now: Labels, had: readonly string[]): Labels {
  const kept = Object.entries(now).filter(([name]) => !had.includes(name));
  return { ...Object.fromEntries(kept), ...wanted };
}

function fieldChanges(target: CurrentTarget | null, state: TargetState): FieldChange[] {
  const changes: FieldChange[] = [];
  const add = (field: string, from: FieldChange['from'] | undefined, to: FieldChange['to'] | undefined) => {
    if ((from ?? null) !== (to ?? null)) changes.push({ field, from: from ?? null, to: to ?? null });
  };
  for (const name of ['name', 'host', 'port', 'operatingSystem', 'description', 'isActive'] as const) {
    if (target !== null) add(name, target[name], state[name]);
    else if (name !== 'isActive' && state[name] !== '') add(name, null, state[name]);
  }
  for (const name of settingNames) add(`settings.${name}`, target?.settings[name], state.settings[name]);
  const labels = new Set([...Object.keys(target?.labels ?? {}), ...Object.keys(state.labels)]);
  for (const name of [...labels].sort()) add(`labels.${name}`, target?.labels[name], state.labels[name]);
  return changes;
}

/** Another host or port is another machine, whose accepted keys are forgotten. Returns how many. */
function forgottenHostKeys(target: CurrentTarget, after: TargetState): number {
  if (target.acceptedHostKeys === 0) return 0;
  const isOther =
    target.host.toLowerCase() !== after.host.toLowerCase() ||
    portOf(target.inherited, target) !== portOf(target.inherited, after);
  return isOther ? target.acceptedHostKeys : 0;
}

/** Returns the port that applies with these inherited settings. */
export function portOf(
  inherited: InheritedSettings,
  { settings, port }: Pick<TargetState, 'settings' | 'port'>,
): number {
  return connectionOf({ ...inherited, ...settings }, port).port;
}
