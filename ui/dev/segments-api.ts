// The mock API for segments and their agents: the four of the fixtures, or in the scenario `many` 2,000 with about
// 5,000 agents.
import type { Agent, Segment } from '@opsconductor/protocol';
import { agentsWith } from './enrollment-api.ts';
import { agents, segments } from './fixtures.ts';

const manySegments: Segment[] = Array.from({ length: 2_000 }, (_, at) => {
  const one = segments[at % segments.length] as Segment;
  return at < segments.length
    ? one
    : { ...one, id: at + 1, name: `site-${String(at).padStart(4, '0')}-${one.name}` };
}).sort((a, b) => (a.name < b.name ? -1 : 1));
const manyAgents: Agent[] = manySegments.flatMap((segment, at) =>
  segment.health === 'no_agent'
    ? []
    : Array.from({ length: (at % 4) + 2 }, (_, n): Agent => {
        const one = agents[(at + n) % agents.length] as Agent;
        const name = `${segment.name}-${'abcde'[n]}`;
        return {
          ...one,
          ...{ id: 10_000 + at * 10 + n, name, hostname: name },
          ...{ segmentId: segment.id, segmentName: segment.name },
        };
      }),
);

export function segmentsOf(scenario: string): Segment[] {
  if (scenario === 'empty') return [];
  return scenario === 'many' ? manySegments : segments;
}

function agentsOf(scenario: string): Agent[] {
  if (scenario === 'empty') return [];
  if (scenario === 'many') return manyAgents;
  return agentsWith(scenario === 'enrolled' || scenario === 'connected' ? scenario : undefined);
}

export function segmentPage(query: URLSearchParams, scenario: string) {
  const search = query.get('search')?.toLowerCase() ?? '';
  const named = new Set(
    query.has('searchIn')
      ? agentsOf(scenario)
          .filter((one) => `${one.name} ${one.hostname} ${one.address} ${one.state}`.includes(search))
          .map(({ segmentId }) => segmentId)
      : [],
  );
  const fits = segmentsOf(scenario).filter(({ id, name }) => name.includes(search) || named.has(id));
  return { ...pageOf(fits, query, query.has('limit') ? undefined : fits.length), named: [] };
}

export function agentPage(query: URLSearchParams, scenario: string) {
  const wanted = (query.get('segmentIds') ?? query.get('segmentId'))?.split(',').map(Number);
  const fits = query.get('state') === 'revoked' ? [] : agentsOf(scenario);
  return pageOf(
    fits.filter(({ segmentId }) => wanted === undefined || wanted.includes(segmentId)),
    query,
  );
}

function pageOf<T>(fits: T[], query: URLSearchParams, limit = Number(query.get('limit') ?? 50)) {
  const from = Number(query.get('cursor') ?? 0);
  const nextCursor = from + limit < fits.length ? String(from + limit) : null;
  return { items: fits.slice(from, from + limit), nextCursor };
}
