// What a job was last run on, and with which values, as far as that can be repeated.
import type { RunDetail, RunSelection, RunSteps, TargetRun } from '@opsconductor/protocol';
import { ApiError } from '../../api/client.ts';
import { isUnknownParameter } from '../../api/older-server.ts';
import { fetchRun, fetchRunSteps, fetchTargetRuns, listRuns } from '../../api/runs.ts';
import { selectTargets } from '../../api/targets/targets.ts';
import { count, counted } from '../../format/quantity.ts';
import type { SelectionDraft } from '../targets/selection-draft.svelte.ts';

type Named = { id: number; name: string };
export interface LastSelection {
  runId: number;
  /** Description of the selection: `group web, without canary`. */
  words: string;
  /** Values that were given, without secrets and defaults. */
  parameters: Readonly<Record<string, unknown>>;
  applyTo(draft: SelectionDraft): void;
}

/** Reads it from the newest run that the reader may see; undefined if there is none, or its selection is hidden. */
export async function readLastSelection(
  jobId: number,
  signal?: AbortSignal,
): Promise<LastSelection | undefined> {
  const [newest] = (await listRuns({ jobId, limit: 1 }, signal)).items;
  if (newest === undefined) return undefined;
  const run = await fetchRun(newest.id, signal);
  if (run.selection === null) return undefined;
  return (await asAsked(run, signal)) ?? (await readHostsOf(run, signal));
}

/** Returns the values that someone gave a run, to use them again. */
export function givenValues({ parameters }: Pick<RunDetail, 'parameters'>): Record<string, unknown> {
  const given = (parameters ?? []).filter(({ secret, isDefault }) => !secret && !isDefault);
  return Object.fromEntries(given.map(({ name, value }) => [name, value]));
}

/**
 * Offers those of a run's groups that the reader may still use, and its selectors, to be resolved again. Undefined if
 * targets were given by id, as a run keeps only their number, or if what is left would select something else.
 */
async function asAsked(
  run: Pick<RunDetail, 'id' | 'jobId' | 'selection' | 'parameters'>,
  signal: AbortSignal | undefined,
): Promise<LastSelection | undefined> {
  const { id, jobId, selection } = run;
  if (selection === null || selection.targets > 0 || selection.exclude.targets > 0) return undefined;
  const { exclude, selector } = selection;
  const lost = await findLost(jobId, selection, signal);
  // Without what it excluded, it would run on more than before.
  if (lost === undefined || lost.excluded > 0) return undefined;
  const groups = selection.groups.filter((_, at) => !lost.groups.has(at));
  if (groups.length === 0 && selector === null) return undefined;
  const without = termWords(exclude);
  return {
    runId: id,
    // Not by name: the reader may not see them.
    words:
      termWords({ groups, selector }) +
      (without === '' ? '' : `, without ${without}`) +
      lostWords(lost.groups.size),
    parameters: givenValues(run),
    applyTo(draft) {
      draft.clear();
      draft.include.groups = groups;
      draft.include.selector = selector ?? '';
      draft.exclude.groups = exclude.groups;
      draft.exclude.selector = exclude.selector ?? '';
    },
  };
}

/**
 * Asks the server which groups of a selection, by their place in it, the reader may not use, and how many of those that
 * it excludes; undefined if a selector can't be used, as when it names such a group.
 */
async function findLost(
  jobId: number,
  selection: RunSelection,
  signal: AbortSignal | undefined,
): Promise<{ groups: ReadonlySet<number>; excluded: number } | undefined> {
  const idsOf = ({ groups, selector }: Pick<RunSelection, 'groups' | 'selector'>) => ({
    ...(groups.length === 0 ? {} : { groupIds: groups.map(({ id }) => id) }),
    ...(selector === null ? {} : { selector }),
  });
  try {
    const exclude = idsOf(selection.exclude);
    await selectTargets({ ...idsOf(selection), exclude, jobId, limit: 1 }, signal);
    return { groups: new Set(), excluded: 0 };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.code === 'invalid') return undefined;
    // If it can't be asked, that is said once the selection is checked before the start.
    const places = error.code === 'not_found' ? error.details.map(({ path }) => path) : [];
    const found = places.flatMap((path) => /^groupIds\[(\d+)\]$/.exec(path)?.[1] ?? []);
    return { groups: new Set(found.map(Number)), excluded: places.length - found.length };
  }
}

function lostWords(groups: number): string {
  if (groups === 0) return '';
  return ` (${counted(groups, 'target group is', 'target groups are')} left out: deleted, or you may not see ${groups === 1 ? 'it' : 'them'})`;
}

/**
 * Reads the hosts of a run on which the reader may run its job, without their steps, of which a large run has a million.
 */
async function readTargetRuns(runId: number, signal: AbortSignal | undefined): Promise<TargetRun[]> {
  const read = (mayRun: { mayRun?: true }) =>
    readPages(async (at) => {
      const { items, nextCursor } = await fetchTargetRuns(runId, { limit: 1_000, ...mayRun, ...at }, signal);
      return { targetRuns: items, nextCursor };
    });
  // A server of an earlier version, which may answer during an upgrade, lists all hosts, or only together with their
  // steps.
  try {
    return await read({ mayRun: true }).catch((error: unknown) => {
      if (isUnknownParameter(error)) return read({});
      throw error;
    });
  } catch (error) {
    if (!(error instanceof ApiError) || error.code !== 'not_found') throw error;
  }
  return readPages((at) => fetchRunSteps(runId, { limit: 200, ...at }, signal));
}

async function readPages(
  read: (at: { cursor?: string }) => Promise<Pick<RunSteps, 'targetRuns' | 'nextCursor'>>,
): Promise<TargetRun[]> {
  const all: TargetRun[] = [];
  for (let at: { cursor?: string } = {}; ; ) {
    const { targetRuns, nextCursor } = await read(at);
    all.push(...targetRuns);
    if (nextCursor === null) return all;
    at = { cursor: nextCursor };
  }
}

/**
 * Offers a run's hosts on which the reader may run its job; undefined if there are none.
 *
 * @param only ids of the target runs to offer, if not all
 */
export async function readHostsOf(
  run: RunDetail,
  signal?: AbortSignal,
  only?: ReadonlySet<number>,
): Promise<LastSelection | undefined> {
  // A target that has been deleted since can't be selected again.
  const hosts: Named[] = (await readTargetRuns(run.id, signal)).flatMap(({ id, targetId, targetName }) =>
    targetId === null || only?.has(id) === false ? [] : { id: targetId, name: targetName },
  );
  if (hosts.length === 0) return undefined;
  const [first] = hosts;
  const total = only?.size ?? run.targetsTotal;
  const left = total - hosts.length;
  const many = counted(hosts.length, 'target');
  const all =
    hosts.length === 1
      ? `target ${first?.name}`
      : only === undefined
        ? `the same ${many}`
        : `${many} that the filter shows`;
  return {
    runId: run.id,
    parameters: givenValues(run),
    // Not by name: the reader may not see them.
    words:
      left > 0
        ? `${all} of ${count(total)} (${left === 1 ? 'the other was' : 'the others were'} deleted, or you may not run this job there)`
        : all,
    applyTo(draft) {
      draft.clear();
      draft.pick(hosts);
    },
  };
}

function termWords({ groups, selector }: { groups: readonly Named[]; selector: string | null }): string {
  return [...groups.map(({ name }) => `group ${name}`), ...(selector === null ? [] : [selector])].join(
    ' and ',
  );
}
