// The rows of the matrix: each group's heading, and its hosts unless it is folded.
import type { RunStatus } from '@opsconductor/protocol';
import type { Host } from '../../../state/runs/run-hosts.svelte.ts';
import type { HostGroup } from '../hosts/host-groups.ts';

export type MatrixRow = { kind: 'group'; group: HostGroup } | { kind: 'host'; host: Host };

export function matrixRows(
  groups: readonly HostGroup[],
  folded: (group: HostGroup) => boolean,
): readonly MatrixRow[] {
  return groups.flatMap((group): MatrixRow[] => [
    { kind: 'group', group },
    ...(folded(group) ? [] : group.hosts.map((host): MatrixRow => ({ kind: 'host', host }))),
  ]);
}

/** What a row is known by while rows change places: the id of its target run, or its group's status. */
export function rowKey(row: MatrixRow): number | RunStatus {
  return row.kind === 'group' ? row.group.status : row.host.targetRun.id;
}

/** Returns the group of succeeded hosts if its heading is below the rows in view, where it would not be found. */
export function pinnedGroup(rows: readonly MatrixRow[], lastVisible: number): HostGroup | undefined {
  const at = rows.findLastIndex(({ kind }) => kind === 'group');
  const row = rows[at];
  return row?.kind === 'group' && row.group.status === 'succeeded' && at > lastVisible
    ? row.group
    : undefined;
}

/** Rows just out of view, some of which will be seen when scrolling. */
const rowsAhead = 10;

/** Returns the target runs of the rows in view and of those beside them. */
export function hostsInView(
  rows: readonly MatrixRow[],
  view: { firstVisible: number; lastVisible: number },
): number[] {
  return rows
    .slice(Math.max(0, view.firstVisible - rowsAhead), view.lastVisible + 1 + rowsAhead)
    .flatMap((row) => (row.kind === 'host' ? [row.host.targetRun.id] : []));
}
