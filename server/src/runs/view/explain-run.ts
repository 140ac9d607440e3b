// Explains why the waiting parts of a run wait, as far as its reader may know.
import { isRunEnded, type RunExplanation, type Wait } from '@opsconductor/protocol';
import type { Authority } from '../../auth/authority.ts';
import type { Queryable, Sql } from '../../store/database/connection.ts';
import {
  type LockHolderRow,
  listWaiting,
  lockHolders,
  runsBefore,
  runTimes,
  type SegmentAgentsRow,
  segmentAgents,
  segmentsBefore,
  type WaitingRow,
} from '../../store/queue/waiting/waiting-steps.ts';
import type { RunRecord } from '../../store/runs/runs.ts';
import {
  type AgentGroup,
  type Why,
  whyLock,
  whyReady,
  whyUnopened,
  whyWithAgent,
} from './explain-wording.ts';
import { type SeenRun, seeRun } from './seen-run.ts';
import { SharedAnswers } from './shared-answers.ts';

const maxRunsNamed = 10;

/** Explains runs to many readers at once: readers who see the same of a run share what is read. */
export class Explanations {
  readonly #sql: Sql;
  readonly #answers = new SharedAnswers<RunExplanation>();

  constructor(sql: Sql) {
    this.#sql = sql;
  }

  /** @throws as `explainRun` does. */
  of(id: number, authority: Authority): Promise<RunExplanation> {
    const key = JSON.stringify([id, authority.reach('read')]);
    return this.#answers.ask(key, () => explainRun(this.#sql, id, authority));
  }
}

/** @throws {AppError} `not_found`, also if the caller may see nothing of the run. */
export async function explainRun(sql: Sql, id: number, authority: Authority): Promise<RunExplanation> {
  // All reads use one snapshot, so that a step that changes meanwhile isn't listed twice or with a wrong reason.
  return (await sql.begin('isolation level repeatable read read only', (tx) =>
    explain(tx as unknown as Queryable, id, authority),
  )) as RunExplanation;
}

async function explain(db: Queryable, id: number, authority: Authority): Promise<RunExplanation> {
  const seen = await seeRun(db, id, authority);
  const { run, isWhole } = seen;
  const { at, startBy, timeoutAt } = await runTimes(db, id);
  const isOpen = !isRunEnded(run.status);
  const waits = isOpen ? await explainWaits(db, seen, authority) : [];
  const told = (when: Date | null) => (isWhole && isOpen ? (when?.toISOString() ?? null) : null);
  return {
    runId: id,
    at: at.toISOString(),
    waits,
    startBy: told(startBy),
    timeoutAt: told(timeoutAt),
    haltedReason: isWhole ? run.haltedReason : null,
  };
}

async function explainWaits(db: Queryable, seen: SeenRun, authority: Authority): Promise<Wait[]> {
  const { run, isWhole } = seen;
  const reaches = authority.reach('read');
  // The ends of waits depend on all hosts of the run, so only readers of the whole run are told; before the run's first
  // lease they depend only on the run itself (`startBy`).
  const ends = isWhole && run.status !== 'queued';
  const rows = await listWaiting(db, run.id, reaches, { ends });
  const places = await readPlaces(db, run, rows);
  const holders = rows.some((row) => row.kind === 'lock') ? await lockHolders(db, run.id, reaches) : [];
  const waits: Wait[] = [];
  for (const row of mergeUnopened(rows)) {
    const why = whyOf(row);
    const runs =
      why.code === 'behind_priority'
        ? await runsBefore(db, row.segmentId, run.priority, reaches)
        : (why.runs ?? []);
    waits.push(waitView(row, { ...why, runs }));
  }
  return waits;

  function whyOf(row: WaitingRow): Why {
    switch (row.kind) {
      case 'ready': {
        const agents = agentsFor(row, places.agentsOf(row.segmentId));
        const why = whyReady(row, agents, places.before.has(row.segmentId));
        return why.code === 'starts_now' ? why : { ...why, until: row.until };
      }
      case 'lock':
        return { ...whyLock(row, holdersOf(row, holders), run.id), until: row.until };
      case 'unopened':
        return whyUnopened(isWhole ? run : undefined);
      default:
        return whyWithAgent(row);
    }
  }
}

/**
 * Joins all able agents that can do what the steps need into one group, and the other able agents into a group `unfit`.
 */
function agentsFor({ needs }: WaitingRow, agents: readonly SegmentAgentsRow[]): AgentGroup[] {
  const groups: AgentGroup[] = agents.filter(({ state }) => state !== 'able');
  for (const row of agents) {
    if (row.state !== 'able') continue;
    const isFit = (needs ?? []).every((need) => row.capabilities?.includes(need));
    const state = isFit ? 'able' : 'unfit';
    const before = groups.find((group) => group.state === state);
    if (before !== undefined) groups.splice(groups.indexOf(before), 1);
    groups.push({
      ...row,
      state,
      agents: row.agents + (before?.agents ?? 0),
      slots: row.slots + (before?.slots ?? 0),
      freeSlots: row.freeSlots + (before?.freeSlots ?? 0),
    });
  }
  return groups;
}

async function readPlaces(db: Queryable, run: RunRecord, rows: readonly WaitingRow[]) {
  const ids = [...new Set(rows.filter(({ kind }) => kind === 'ready').map(({ segmentId }) => segmentId))];
  const agents = ids.length === 0 ? [] : await segmentAgents(db, ids);
  const before = ids.length === 0 ? [] : await segmentsBefore(db, ids, run.priority);
  const agentsOf = (segmentId: number) => agents.filter((row) => row.segmentId === segmentId);
  return { agentsOf, before: new Set(before) };
}

function holdersOf(row: WaitingRow, holders: readonly LockHolderRow[]): LockHolderRow[] {
  return holders.filter(
    (holder) =>
      holder.lockName === row.lockName &&
      holder.lockScope === row.lockScope &&
      holder.segmentId === row.segmentId,
  );
}

/** Joins what the strategy keeps back into one wait, since strategies don't distinguish segments. */
function mergeUnopened(rows: readonly WaitingRow[]): WaitingRow[] {
  const [first, ...others] = rows.filter((row) => row.kind === 'unopened');
  if (first === undefined) return [...rows];
  const all = [first, ...others];
  const merged = {
    ...first,
    targets: all.reduce((sum, row) => sum + row.targets, 0),
    examples: all
      .flatMap((row) => row.examples)
      .sort((a, b) => a.targetRunId - b.targetRunId)
      .slice(0, 5),
  };
  return [merged, ...rows.filter((row) => row.kind !== 'unopened')].sort((a, b) => b.targets - a.targets);
}

function waitView(row: WaitingRow, why: Why): Wait {
  const isPlaced = row.kind !== 'unopened';
  return {
    code: why.code,
    message: why.message,
    advice: why.advice ?? null,
    since: why.since?.toISOString() ?? null,
    until: why.until?.toISOString() ?? null,
    targets: row.targets,
    examples: row.examples,
    segmentId: isPlaced ? row.segmentId : null,
    segmentName: isPlaced ? row.segmentName : null,
    agentName: row.agentName,
    lockName: row.lockName,
    runs: (why.runs ?? []).slice(0, maxRunsNamed),
  };
}
