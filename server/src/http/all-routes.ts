// All routes of the API, by subject, each with the parts that it needs.
import type { Installation } from '../auth/installation/open-installation.ts';
import { EnrollmentLimits } from '../auth/limits/enrollment-limits.ts';
import type { JobImports } from '../jobs/bundles/job-imports.ts';
import type { ServerMetrics } from '../metrics/server-metrics.ts';
import type { PeopleDeps } from '../people/people-deps.ts';
import type { ClaimsAlong } from '../runs/leases/claim-along.ts';
import type { ProgressNews } from '../runs/progress/run-ledger.ts';
import type { EnrollmentTokenDeps } from '../segments/enrollment/create-enrollment-token.ts';
import type { Sql } from '../store/database/connection.ts';
import type { TargetTester } from '../targets/test-target.ts';
import type { RouteSpec } from './route.ts';
import { auditRoutes } from './routes/audit.ts';
import { credentialRoutes } from './routes/credentials.ts';
import { fileRoutes } from './routes/files.ts';
import { categoryRoutes } from './routes/jobs/categories.ts';
import { jobBundleRoutes } from './routes/jobs/job-bundles.ts';
import { jobVersionRoutes } from './routes/jobs/job-versions.ts';
import { jobRoutes } from './routes/jobs/jobs.ts';
import { schemaRoutes } from './routes/jobs/schemas.ts';
import { siteRuleRoutes } from './routes/jobs/site-rules.ts';
import { metricsRoutes } from './routes/metrics.ts';
import { grantRoutes } from './routes/people/grants.ts';
import { identityRoutes } from './routes/people/identity.ts';
import { userGroupRoutes } from './routes/people/user-groups.ts';
import { userRoutes } from './routes/people/users.ts';
import { decisionRoutes } from './routes/runs/decisions.ts';
import { queueRoutes } from './routes/runs/queue.ts';
import { runEndRoutes } from './routes/runs/run-ends.ts';
import { type RunEventsDeps, runEventRoutes } from './routes/runs/run-events.ts';
import { runPreparationRoutes } from './routes/runs/run-preparation.ts';
import { runStartRoutes } from './routes/runs/run-starts.ts';
import { runRoutes } from './routes/runs/runs.ts';
import { sshConnectionRoutes } from './routes/runs/ssh-connections.ts';
import { stepOutputRoutes } from './routes/runs/step-output.ts';
import { agentEnrollmentRoutes } from './routes/segments/agent-enrollment.ts';
import { agentRoutes } from './routes/segments/agents.ts';
import { segmentRosterRoutes } from './routes/segments/segment-rosters.ts';
import { segmentSettingsRoutes } from './routes/segments/segment-settings.ts';
import { segmentRoutes } from './routes/segments/segments.ts';
import { hostScanRoutes } from './routes/targets/host-scans.ts';
import { hostTrustRoutes } from './routes/targets/host-trust.ts';
import { inventoryRoutes } from './routes/targets/inventories.ts';
import { selectTargetsRoutes } from './routes/targets/select-targets.ts';
import { targetGroupRoutes } from './routes/targets/target-groups.ts';
import { targetRoutes } from './routes/targets/targets.ts';
import type { SessionCookie } from './session-cookie.ts';

export interface RouteParts {
  /** Made by `connectQueue`, for starting runs. */
  queue: Sql;
  installation: Installation;
  people: PeopleDeps;
  cookie: SessionCookie;
  /** What the token of an agent that enrolls says, besides its secret. */
  enrollment: Omit<EnrollmentTokenDeps, 'sql' | 'publicUrl'>;
  events: RunEventsDeps;
  /** The agents that are connected to this server. */
  agents: TargetTester & ClaimsAlong;
  publish(news: ProgressNews): void;
  imports: JobImports;
  metrics: ServerMetrics;
  maxStoredBytes: number;
  detectsSecrets: boolean;
}

export function allRoutes(parts: RouteParts): RouteSpec[] {
  const { installation, people, events, agents, publish } = parts;
  const { masterKey, installationId } = installation;
  const { sql, now, authenticator, settings, publicUrl } = people;
  const { keys } = events;
  return [
    ...identityRoutes({ ...people, cookie: parts.cookie }),
    ...userRoutes(people),
    ...userGroupRoutes(people),
    ...grantRoutes(people),
    ...segmentRoutes({
      ...parts.enrollment,
      sql,
      publicUrl,
      masterKey,
      installationId,
      now,
      session: settings.session,
    }),
    ...agentRoutes({ sql, masterKey, installationId }),
    ...agentEnrollmentRoutes({ sql, masterKey, identity: installation, limits: new EnrollmentLimits(now) }),
    // Before the routes at targets/:id, which would take `labels` for an id.
    ...selectTargetsRoutes({ sql, masterKey }),
    ...targetRoutes({ sql, agents }),
    ...targetGroupRoutes({ sql }),
    ...segmentSettingsRoutes({ sql }),
    ...segmentRosterRoutes({ sql, installationId }),
    ...hostScanRoutes({ sql }),
    ...hostTrustRoutes({ sql }),
    ...credentialRoutes({ sql }),
    ...categoryRoutes({ sql, masterKey, forgetEverybody: () => authenticator.forgetEverybody() }),
    ...inventoryRoutes({ sql }),
    // Before the routes at jobs/:id, which would take `export` for an id.
    ...jobBundleRoutes({ sql, masterKey, imports: parts.imports }),
    ...jobRoutes({ sql, masterKey, detectsSecrets: parts.detectsSecrets }),
    ...jobVersionRoutes({ sql, masterKey }),
    ...runPreparationRoutes({ sql, masterKey, identity: installation }),
    ...schemaRoutes(),
    ...siteRuleRoutes({ sql, masterKey }),
    ...decisionRoutes({ sql, publish }),
    ...runStartRoutes({
      sql,
      queue: parts.queue,
      masterKey,
      identity: installation,
      keys,
      publish,
      events,
      claims: agents,
    }),
    ...runEndRoutes({ sql, publish }),
    ...runRoutes({ sql, masterKey }),
    ...sshConnectionRoutes({ sql }),
    ...stepOutputRoutes({ sql, keys }),
    ...runEventRoutes(events),
    ...fileRoutes({ sql, masterKey, keys, maxStoredBytes: parts.maxStoredBytes }),
    ...queueRoutes({ sql }),
    ...metricsRoutes({ sql, metrics: parts.metrics }),
    ...auditRoutes({ sql, installation, now }),
  ];
}
