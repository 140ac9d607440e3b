// Numbers for a monitoring system, in the text format of Prometheus.
import { Registry } from 'prom-client';
import { readQueueMetrics } from '../../metrics/queue-metrics.ts';
import type { ServerMetrics } from '../../metrics/server-metrics.ts';
import type { Sql } from '../../store/database/connection.ts';
import { type RouteSpec, route } from '../route.ts';

export function metricsRoutes({ sql, metrics }: { sql: Sql; metrics: ServerMetrics }): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: '/api/v1/metrics',
      permission: 'metrics.read',
      summary: 'Metrics of the queue, the agents and this server, for Prometheus',
      description:
        'In the text format 0.0.4. What begins with `opsconductor_segment_`, `opsconductor_agent_` (but `opsconductor_agent_connections`), `opsconductor_runs_open`, `opsconductor_steps_held`, `opsconductor_oldest_ready_seconds` and `opsconductor_database_size_bytes` is the same on every server of an installation; the rest belongs to the server that answers. It has names of segments and agents, but none of jobs, targets or people.',
      tag: 'queue',
      success: { status: 200, contentType: 'text/plain' },
      handle: async () => {
        const text = await Registry.merge([metrics.registry, await readQueueMetrics(sql)]).metrics();
        return new Response(text, {
          headers: { 'Content-Type': Registry.PROMETHEUS_CONTENT_TYPE, 'Cache-Control': 'no-store' },
        });
      },
    }),
  ];
}
