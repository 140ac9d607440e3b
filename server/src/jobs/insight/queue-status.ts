// What waits in the queue and who could take it, in numbers and in words.
import type { ExecutorOverview, ExecutorStatus, RunStatus, WorkerStatus } from '@opsconductor/protocol';
import type { Authority, Reach } from '../../auth/authority.ts';
import { partStatus } from '../../runs/view/run-part.ts';
import { countSegments } from '../../segments/list-segments.ts';
import { type AgentOverviewRow, listAgentOverviews } from '../../store/agents/agent-overviews.ts';
import type { Queryable } from '../../store/database/connection.ts';
import { reachesEverything } from '../../store/people/visibility.ts';
import {
  heldSteps,
  oldestReadyMs,
  openRunCounts,
  type SegmentQueueRow,
  segmentQueues,
  stepCounts,
} from '../../store/queue/waiting/queue-status.ts';
import { listOpenRunParts } from '../../store/runs/lists/run-parts.ts';

const maxNamedAgents = 5;

/**
 * Returns the queue as far as the caller may read it; `degraded` if steps are ready in a segment and none of its agents
 * can take them.
 */
export async function queueStatus(sql: Queryable, authority: Authority): Promise<ExecutorStatus> {
  const reaches = authority.reach('read');
  const [steps, runs, oldest, segments] = await Promise.all([
    stepCounts(sql, reaches),
    seenOpenRuns(sql, reaches),
    oldestReadyMs(sql, reaches),
    segmentQueues(sql, reaches),
  ]);
  const problems = await stuckSegmentProblems(sql, segments, reaches);
  return {
    status: problems.length === 0 ? 'ok' : 'degraded',
    steps,
    runs,
    oldestReadyMs: oldest,
    segments: segments.map((segment) => ({
      ...segment,
      stuckSince: segment.stuckSince?.toISOString() ?? null,
    })),
    problems,
  };
}

/** Returns what the console's frame shows on every page: only numbers, because every open console polls them. */
export async function queueOverview(sql: Queryable, authority: Authority): Promise<ExecutorOverview> {
  const reaches = authority.reach('read');
  const [segments, held] = await Promise.all([countSegments(sql, reaches), heldSteps(sql, reaches)]);
  return { segments, heldSteps: held };
}

/** Counts open runs by status; for a run that is seen in part, the status of that part counts. */
async function seenOpenRuns(sql: Queryable, reaches: readonly Reach[]): Promise<ExecutorStatus['runs']> {
  if (reachesEverything(reaches)) return openRunCounts(sql);
  const statuses = (await listOpenRunParts(sql, reaches)).map((part) => partStatus(part.targets, part));
  const count = (status: RunStatus) => statuses.filter((one) => one === status).length;
  return { queued: count('queued'), running: count('running'), cancelling: count('cancelling') };
}

/**
 * Returns one sentence for each segment with ready steps that no agent can take, saying what prevents each of its
 * agents.
 */
export async function stuckSegmentProblems(
  sql: Queryable,
  segments: readonly SegmentQueueRow[],
  reaches: readonly Reach[],
): Promise<string[]> {
  const stuck = segments.filter((segment) => segment.stuckSince !== null);
  if (stuck.length === 0) return [];
  const agents = await listAgentOverviews(sql, reaches);
  return stuck.map(({ id, name, ready, stuckSince }) => {
    const here = agents.filter((agent) => agent.segmentId === id);
    const steps = ready === 1 ? '1 step is' : `${ready} steps are`;
    return `Segment “${name}”: ${steps} ready, but no agent has been able to take ${ready === 1 ? 'it' : 'them'} since ${stuckSince?.toISOString()}. ${whyNot(here)}`;
  });
}

function whyNot(agents: readonly AgentOverviewRow[]): string {
  if (agents.length === 0) return 'It has no agent: add one.';
  const named = agents.slice(0, maxNamedAgents).map((agent) => `${agent.name} ${hindranceOf(agent)}`);
  const more = agents.length > maxNamedAgents ? `, and ${agents.length - maxNamedAgents} more` : '';
  return `Agent ${named.join(', ')}${more}.`;
}

function hindranceOf(agent: AgentOverviewRow): string {
  if (agent.state !== 'connected') return `is ${agent.state}`;
  if (agent.busyReason === 'disk') return 'has no room on its disk or can’t write to it';
  return agent.hasSegmentKey ? 'is still connecting' : 'has no segment key yet';
}

/**
 * Returns the agents and their slots. Leases count until they are settled, whatever happened to the agent that holds
 * them.
 */
export async function agentsStatus(sql: Queryable, authority: Authority): Promise<WorkerStatus> {
  const agents = await listAgentOverviews(sql, authority.reach('read'));
  const inState = (...states: AgentOverviewRow['state'][]) =>
    agents.filter((agent) => states.includes(agent.state));
  const holding = agents.filter(
    (agent) => agent.slotsInUse > 0 || ['connected', 'draining', 'silent'].includes(agent.state),
  );
  const free = inState('connected').filter((agent) => agent.hasSegmentKey);
  return {
    connected: inState('connected', 'draining').length,
    silent: inState('silent').length,
    offline: inState('offline', 'disabled', 'quarantined').length,
    slots: sum(holding, (agent) => agent.slots),
    slotsInUse: sum(holding, (agent) => agent.slotsInUse),
    freeSlots: sum(free, (agent) => Math.max(0, agent.slots - agent.slotsInUse)),
    agents: agents.map(({ id, name, segmentName, state, slots, slotsInUse }) => ({
      id,
      name,
      segmentName,
      state,
      slots,
      slotsInUse,
    })),
  };
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}
