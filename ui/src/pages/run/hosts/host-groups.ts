// How the hosts of a run are grouped, ordered and filtered, for the matrix and the map.
import { type RunStatus, runStatuses, type Step } from '@opsconductor/protocol';
import { count } from '../../../format/quantity.ts';
import { compareStatus, statusWord } from '../../../format/status.ts';
import { byName } from '../../../state/runs/by-name.ts';
import type { Host } from '../../../state/runs/run-hosts.svelte.ts';
import { failedStep, reasonInFilter } from './causes.ts';

export interface HostGroup {
  status: RunStatus;
  hosts: Host[];
}

/** Groups with more hosts than this start folded. */
export const foldAbove = 50;
/** Runs with more hosts than this open as a map. */
export const mapAbove = 200;

/** The status that a group is shown as: held hosts are shown as unknown, since that is why they are held. */
export function groupLook(status: RunStatus): RunStatus {
  return status === 'held' ? 'unknown' : status;
}

export function groupWord(status: RunStatus): string {
  return status === 'held' ? 'unknown, held' : statusWord(status);
}

/** Returns the hosts that still have the group's status; they may have changed while rows keep their places. */
export function stillIn(group: HostGroup): Host[] {
  return group.hosts.filter(({ targetRun }) => targetRun.status === group.status);
}

/** The heading of a group. */
export function groupText(group: HostGroup): string {
  const still = stillIn(group).length;
  const gone = group.hosts.length - still;
  return `${count(still)} ${groupWord(group.status)}${gone === 0 ? '' : `, ${count(gone)} no longer`}`;
}

/** Trouble first; running hosts by longest time, others by name. */
export function groupHosts(hosts: readonly Host[]): HostGroup[] {
  const groups = new Map<RunStatus, Host[]>();
  for (const host of hosts) {
    const group = groups.get(host.targetRun.status);
    if (group === undefined) groups.set(host.targetRun.status, [host]);
    else group.push(host);
  }
  return [...groups]
    .map(([status, members]) => ({ status, hosts: members.sort(status === 'running' ? byStart : byName) }))
    .sort((a, b) => compareStatus(a.status, b.status));
}

function byStart(a: Host, b: Host): number {
  return (a.targetRun.startedAt ?? '~').localeCompare(b.targetRun.startedAt ?? '~') || byName(a, b);
}

/** Whether a filter needs the steps of hosts that failed. */
export function needsCauses(text: string): boolean {
  return /(?:^|\s)(?:step|why):/i.test(text);
}

const maxFilterLength = 300;

/** Reads the filter of a link, without what no host can match: states and steps that there are not. */
export function readFilter(text: string | null): string {
  if (text === null || text.length > maxFilterLength) return '';
  const isKnown = (word: string) => {
    const [, name, value = ''] = /^(state|step):(.*)$/i.exec(word) ?? [];
    if (name === undefined) return true;
    if (name.toLowerCase() === 'step') return /^[1-9][0-9]{0,3}$/.test(value);
    return statesOf(value).some((part) => runStatuses.some((status) => status.startsWith(part)));
  };
  return text.split(/\s+/).filter(Boolean).filter(isKnown).join(' ');
}

/** The states, or beginnings of them, that are separated by commas. */
function statesOf(value: string): string[] {
  return value
    .toLowerCase()
    .split(',')
    .filter((part) => part !== '');
}

/**
 * Filters by part of the name; `segment:dmz-1` and `state:failed` filter by those, `step:2` by the step that a host
 * failed at, and `why:exit_100` by the reason.
 */
export function filterHosts(hosts: readonly Host[], text: string): readonly Host[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return hosts;
  return hosts.filter((host) =>
    words.every((word) => {
      const { targetRun } = host;
      if (word.startsWith('step:')) return String(failedStep(host)?.stepNumber ?? '') === word.slice(5);
      if (word.startsWith('why:')) {
        const step = failedStep(host);
        return step !== undefined && reasonInFilter(step) === word.slice(4);
      }
      if (word.startsWith('segment:')) return targetRun.segmentName.toLowerCase().startsWith(word.slice(8));
      if (word.startsWith('state:')) {
        return statesOf(word.slice(6)).some((state) => targetRun.status.startsWith(state));
      }
      return targetRun.targetName.toLowerCase().includes(word);
    }),
  );
}

/**
 * Returns the host that a reader most likely wants first: one in trouble, otherwise one that runs, otherwise the first.
 */
export function firstToShow(groups: readonly HostGroup[]): Host | undefined {
  return groups.find((group) => group.hosts.length > 0)?.hosts[0];
}

/**
 * Returns the step of a host to show: the one that runs, otherwise the first that went wrong, otherwise the first that
 * was cancelled after it had begun (what follows it are clean-up steps), otherwise the last that began.
 */
export function stepToShow(host: Host): number {
  const running = host.steps.findIndex((step) => step.status === 'running' || step.status === 'held');
  if (running >= 0) return running + 1;
  const bad = host.steps.findIndex((step) => ['unknown', 'failed', 'timed_out'].includes(step.status));
  if (bad >= 0) return bad + 1;
  const cut = host.steps.findIndex(({ attempt, status }) => attempt > 0 && status === 'cancelled');
  if (cut >= 0) return cut + 1;
  // A step that was leased ahead of its turn and skipped has an attempt, too.
  const begun = host.steps.findLastIndex(({ attempt, status }) => attempt > 0 && status !== 'skipped');
  return Math.max(0, begun) + 1;
}

/**
 * Returns the step of a host to display: the one that was selected; otherwise the one that a reader stays with;
 * otherwise the one to show now, which changes as the host goes on.
 */
export function stepInView(
  host: Host,
  reader: { picked: number | undefined; shown: number | undefined; stays: boolean },
): number {
  if (reader.picked !== undefined) return reader.picked;
  return reader.stays && reader.shown !== undefined ? reader.shown : stepToShow(host);
}

/** Returns the step that a host is at while another one is displayed, to link to it; undefined if there is none. */
export function stepElsewhere(host: Host, stepNumber: number): Step | undefined {
  const at = host.steps[stepToShow(host) - 1];
  return at === undefined || at.stepNumber === stepNumber || at.status !== 'running' ? undefined : at;
}
