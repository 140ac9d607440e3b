// What the database knows of the queue and the agents, in numbers. It is the same on every server of an installation.
import { Gauge, Registry } from 'prom-client';
import { type AgentOverviewRow, listAgentOverviews } from '../store/agents/agent-overviews.ts';
import type { Queryable } from '../store/database/connection.ts';
import { databaseBytes } from '../store/database/database-size.ts';
import { unrestricted } from '../store/people/visibility.ts';
import {
  heldSteps,
  oldestReadyMs,
  openRunCounts,
  type SegmentQueueRow,
  segmentQueues,
} from '../store/queue/waiting/queue-status.ts';

/** Reads everything now, into a registry of its own: what has gone since the last time is not in it. */
export async function readQueueMetrics(sql: Queryable): Promise<Registry> {
  const [segments, agents, runs, held, oldestMs, bytes] = await Promise.all([
    segmentQueues(sql, unrestricted),
    listAgentOverviews(sql, unrestricted),
    openRunCounts(sql),
    heldSteps(sql, unrestricted),
    oldestReadyMs(sql, unrestricted),
    databaseBytes(sql),
  ]);
  const registry = new Registry();
  addSegments(registry, segments, Date.now());
  addAgents(registry, agents);
  add(
    registry,
    'opsconductor_runs_open',
    'Runs that have not ended and do not wait for a decision, by status.',
    ['status'],
    (set) => {
      for (const [status, count] of Object.entries(runs)) set({ status }, count);
    },
  );
  addOne(registry, 'opsconductor_steps_held', 'Steps that wait for a person’s decision.', held);
  addOne(
    registry,
    'opsconductor_oldest_ready_seconds',
    'Age of the oldest run that has a step that is ready; 0 if there is none.',
    (oldestMs ?? 0) / 1_000,
  );
  addOne(registry, 'opsconductor_database_size_bytes', 'Disk space that the database takes.', bytes);
  return registry;
}

function addSegments(registry: Registry, segments: readonly SegmentQueueRow[], nowMs: number): void {
  const perSegment = (name: string, help: string, value: (segment: SegmentQueueRow) => number) =>
    add(registry, name, help, ['segment'], (set) => {
      for (const segment of segments) set({ segment: segment.name }, value(segment));
    });
  perSegment(
    'opsconductor_segment_ready_steps',
    'Steps that are ready, also those that wait for a lock or for their next try.',
    ({ ready }) => ready,
  );
  perSegment('opsconductor_segment_running_steps', 'Steps that run.', ({ running }) => running);
  perSegment(
    'opsconductor_segment_able_agents',
    'Agents that can take steps, busy or not.',
    ({ ableAgents }) => ableAgents,
  );
  perSegment(
    'opsconductor_segment_free_slots',
    'Steps that these agents could take in addition.',
    ({ freeSlots }) => freeSlots,
  );
  perSegment(
    'opsconductor_segment_stuck_seconds',
    'For how long steps have been ready without an agent that could take them; 0 if that is not so.',
    ({ stuckSince }) => (stuckSince === null ? 0 : Math.max(0, nowMs - stuckSince.getTime()) / 1_000),
  );
}

function addAgents(registry: Registry, agents: readonly AgentOverviewRow[]): void {
  const perAgent = (name: string, help: string, value: (agent: AgentOverviewRow) => number | null) =>
    add(registry, name, help, ['agent', 'segment'], (set) => {
      for (const agent of agents) {
        const number = value(agent);
        if (number !== null) set({ agent: agent.name, segment: agent.segmentName }, number);
      }
    });
  add(
    registry,
    'opsconductor_agent_state',
    'The agent’s state: always 1, the state is in the label.',
    ['agent', 'segment', 'state'],
    (set) => {
      for (const { name, segmentName, state } of agents) set({ agent: name, segment: segmentName, state }, 1);
    },
  );
  add(
    registry,
    'opsconductor_agent_busy',
    'Why a connected agent takes no steps at the moment: always 1, the reason is in the label.',
    ['agent', 'segment', 'reason'],
    (set) => {
      for (const { name, segmentName, busyReason } of agents)
        if (busyReason !== null) set({ agent: name, segment: segmentName, reason: busyReason }, 1);
    },
  );
  perAgent('opsconductor_agent_slots', 'Steps that the agent runs at a time.', ({ slots }) => slots);
  perAgent('opsconductor_agent_slots_in_use', 'Of these, those in use.', ({ slotsInUse }) => slotsInUse);
  perAgent(
    'opsconductor_agent_spool_bytes',
    'Output on the agent’s disk that the server has not stored yet.',
    ({ spoolBytes }) => spoolBytes,
  );
  perAgent(
    'opsconductor_agent_last_heartbeat_timestamp_seconds',
    'When the agent was last heard of, as Unix time.',
    ({ lastHeartbeatAt }) => (lastHeartbeatAt === null ? null : lastHeartbeatAt.getTime() / 1_000),
  );
}

type Labels<Name extends string> = Record<Name, string>;

function add<Name extends string>(
  registry: Registry,
  name: string,
  help: string,
  labelNames: Name[],
  fill: (set: (labels: Labels<Name>, value: number) => void) => void,
): void {
  const gauge = new Gauge<Name>({ registers: [registry], name, help, labelNames });
  fill((labels, value) => gauge.set(labels, value));
}

function addOne(registry: Registry, name: string, help: string, value: number): void {
  new Gauge({ registers: [registry], name, help }).set(value);
}
