import { type Agent, type AgentDetail, type AgentQuery, limits } from '@opsconductor/protocol';
import { fingerprint } from '@opsconductor/protocol/sealing';
import type { Reach } from '../../auth/authority.ts';
import { notFound } from '../../errors.ts';
import {
  type AgentFilter,
  type AgentOverviewRow,
  listAgentOverviews,
  listAgentSteps,
  readAgentMore,
} from '../../store/agents/agent-overviews.ts';
import type { Queryable } from '../../store/database/connection.ts';
import { pageOf } from '../../store/database/cursor.ts';
import { idsOf } from '../../validation/filter-words.ts';
import { refuseUnstorableText } from '../../validation/storable-text.ts';

const maxStepsShown = 100;

/**
 * Returns a page of the agents in segments within the reaches, by segment and name, with their states by the database's
 * clock. Revoked ones are included only if the query asks for them.
 */
export async function listAgents(
  sql: Queryable,
  query: AgentQuery,
  reaches: readonly Reach[],
): Promise<{ items: Agent[]; nextCursor: string | null }> {
  refuseUnstorableText(query, 'query');
  const limit = query.limit ?? limits.defaultPageItems;
  const rows = await listAgentOverviews(sql, reaches, filterOf(query), { limit, cursor: query.cursor });
  const page = pageOf(
    rows,
    limit,
    (row) => [row.segmentName, row.name, row.id],
    (row) => row,
  );
  return { items: await Promise.all(page.items.map(toAgent)), nextCursor: page.nextCursor };
}

function filterOf({ segmentId, segmentIds, state, label, search }: AgentQuery): AgentFilter {
  const segments = idsOf(segmentId, segmentIds);
  const at = label?.indexOf('=') ?? -1;
  return {
    ...(segments === undefined ? {} : { segmentIds: segments }),
    ...(state === undefined ? {} : { state }),
    ...(search === undefined ? {} : { search }),
    ...(label === undefined
      ? {}
      : {
          label: {
            name: at < 0 ? label : label.slice(0, at),
            value: at < 0 ? undefined : label.slice(at + 1),
          },
        }),
  };
}

/** @throws {AppError} `not_found`, also for an agent outside the reaches. */
export async function getAgent(sql: Queryable, id: number, reaches: readonly Reach[]): Promise<AgentDetail> {
  const [row] = await listAgentOverviews(sql, reaches, { id });
  if (row === undefined) throw notFound('Agent');
  const [agent, more, steps] = await Promise.all([
    toAgent(row),
    readAgentMore(sql, id),
    listAgentSteps(sql, id, maxStepsShown),
  ]);
  const { connectedAt, keyGenerations, currentGeneration, onServerMachine } = more;
  const { remainingAgents, credentials } = more;
  return {
    ...agent,
    connectedAt: connectedAt?.toISOString() ?? null,
    keyGenerations,
    currentGeneration,
    onServerMachine,
    keysChangedAt: more.keysChangedAt?.toISOString() ?? null,
    newKeysWantedAt: more.newKeysWantedAt?.toISOString() ?? null,
    steps: steps.map(({ leasedAt, startedAt, ...step }) => ({
      ...step,
      leasedAt: leasedAt.toISOString(),
      startedAt: startedAt?.toISOString() ?? null,
    })),
    revocation: { remainingAgents, credentials },
  };
}

async function toAgent(row: AgentOverviewRow): Promise<Agent> {
  const { signingKey, since, drainRequestedAt, lastHeartbeatAt, enrolledAt, ...rest } = row;
  const { lastCloseAt, lastCloseSince, lastCloseCode, lastCloseReason, lastCloseAddress, ...fields } = rest;
  return {
    ...fields,
    since: since?.toISOString() ?? null,
    drainRequestedAt: drainRequestedAt?.toISOString() ?? null,
    lastHeartbeatAt: lastHeartbeatAt?.toISOString() ?? null,
    lastClose:
      lastCloseAt === null || lastCloseSince === null || lastCloseCode === null
        ? null
        : {
            at: lastCloseAt.toISOString(),
            since: lastCloseSince.toISOString(),
            code: lastCloseCode,
            reason: lastCloseReason ?? '',
            address: lastCloseAddress,
          },
    fingerprint: await fingerprint(signingKey),
    enrolledAt: enrolledAt.toISOString(),
  };
}
