// What a job was last run on, and with which values, as far as that can be repeated.
import type { RunDetail, RunSteps, TargetRun } from '@opsconductor/protocol';
import { ApiError } from '../../api/client.ts';
import { isUnknownParameter } from '../../api/older-server.ts';
import { fetchRun, fetchRunSteps, fetchTargetRuns, listRuns } from '../../api/runs.ts';
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
  return asAsked(run) ?? (await readHostsOf(run, signal));
}

/** Returns the values that someone gave a run, to use them again. */
export function givenValues({ parameters }: Pick<RunDetail, 'parameters'>): Record<string, unknown> {
  const given = (parameters ?? []).filter(({ secret, isDefault }) => !secret && !isDefault);
  return Object.fromEntries(given.map(({ name, value }) => [name, value]));
}

/**
 * Offers a run's groups and selectors, to be resolved again; undefined if targets were given by id, as a run keeps only
 * their number.
 */
function asAsked(run: Pick<RunDetail, 'id' | 'selection' | 'parameters'>): LastSelection | undefined {
  const { id, selection } = run;
  if (selection === null || selection.targets > 0 || selection.exclude.targets > 0) return undefined;
  const { exclude } = selection;
  const without = termWords(exclude);
  return {
    runId: id,
    words: termWords(selection) + (without === '' ? '' : `, without ${without}`),
    parameters: givenValues(run),
    applyTo(draft) {
      draft.clear();
      draft.include.groups = selection.groups;
      draft.include.selector = selection.selector ?? '';
      draft.exclude.groups = exclude.groups;
      draft.exclude.selector = exclude.selector ?? '';
    },
  };
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

/** Offers a run's hosts on which the reader may run its job; undefined if there are none. */
export async function readHostsOf(run: RunDetail, signal?: AbortSignal): Promise<LastSelection | undefined> {
  // A target that has been deleted since can't be selected again.
  const hosts: Named[] = (await readTargetRuns(run.id, signal)).flatMap(({ targetId, targetName }) =>
    targetId === null ? [] : { id: targetId, name: targetName },
  );
  if (hosts.length === 0) return undefined;
  const [first] = hosts;
  const left = run.targetsTotal - hosts.length;
  const all = hosts.length === 1 ? `target ${first?.name}` : `the same ${counted(hosts.length, 'target')}`;
  return {
    runId: run.id,
    parameters: givenValues(run),
    // Not by name: the reader may not see them.
    words:
      left > 0
        ? `${all} of ${count(run.targetsTotal)} (${left === 1 ? 'the other was' : 'the others were'} deleted, or you may not run this job there)`
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
