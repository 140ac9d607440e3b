// Site rules: what an installation requires of job definitions. Only administrators edit them.
import {
  Closed,
  CreateSiteRuleRequestSchema,
  Id,
  pageQuery,
  SiteRulePageSchema,
  SiteRuleSchema,
  SiteRuleViolationPageSchema,
  SiteRuleViolationQuerySchema,
  TrySiteRuleRequestSchema,
  UpdateSiteRuleRequestSchema,
} from '@opsconductor/protocol';
import { callerOf } from '../../../caller.ts';
import type { MasterKey } from '../../../credentials/at-rest/master-key.ts';
import {
  createSiteRule,
  deleteSiteRule,
  readSiteRule,
  updateSiteRule,
} from '../../../site-rules/edit-site-rules.ts';
import { getSiteRule, listSiteRules } from '../../../site-rules/list-site-rules.ts';
import { findViolations, violationsOf } from '../../../site-rules/violations.ts';
import type { Sql } from '../../../store/database/connection.ts';
import { expectedVersionOf } from '../../answers/entity-tag.ts';
import { type RouteSpec, route } from '../../route.ts';

const tag = 'site rules';
const params = Closed({ id: Id });
const path = '/api/v1/site-rules';
const permission = 'site_rules.edit';

const example = {
  name: 'Production is bounded',
  category: 'prod',
  condition: 'has(job.timeout) && note != ""',
  message: 'Jobs in prod need a timeout and a note that says why.',
  path: 'timeout',
};

export interface SiteRuleRouteDeps {
  sql: Sql;
  masterKey: MasterKey;
}

export function siteRuleRoutes(deps: SiteRuleRouteDeps): RouteSpec[] {
  return [...editRoutes(deps), ...violationRoutes(deps)];
}

function editRoutes({ sql }: SiteRuleRouteDeps): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path,
      permission,
      summary: 'List the site rules by name',
      tag,
      query: Closed(pageQuery),
      success: { status: 200, schema: SiteRulePageSchema },
      handle: ({ query }) => listSiteRules(sql, query),
    }),
    route({
      method: 'POST',
      path,
      permission,
      summary: 'Create a site rule',
      description:
        'From now on, definitions are checked against it whenever they are saved, imported, moved to another category, labeled or validated. Jobs that already break it stay as they are and still run; `GET /api/v1/jobs/health` lists them. The condition is CEL over `job`, `note` and, if evaluated per step, `step`; it is true for what complies with the rule.',
      tag,
      body: CreateSiteRuleRequestSchema,
      example,
      success: { status: 201, schema: SiteRuleSchema },
      handle: (request) => createSiteRule(sql, request.body, callerOf(request)),
    }),
    route({
      method: 'GET',
      path: `${path}/:id`,
      permission,
      summary: 'Get a site rule',
      tag,
      params,
      success: { status: 200, schema: SiteRuleSchema },
      handle: ({ params }) => getSiteRule(sql, params.id),
    }),
    route({
      method: 'PUT',
      path: `${path}/:id`,
      permission,
      summary: 'Change a site rule as a whole',
      description:
        'Name the version that you changed, in `expectedVersion` or `If-Match: "3"`: if it was changed again since, the answer is 409. Fields that are left out take their defaults.',
      tag,
      params,
      body: UpdateSiteRuleRequestSchema,
      example: { ...example, severity: 'warning', expectedVersion: 1 },
      takesIfMatch: true,
      success: { status: 200, schema: SiteRuleSchema },
      handle: (request) =>
        updateSiteRule(
          sql,
          request.params.id,
          request.body,
          callerOf(request),
          expectedVersionOf(request.context.req.raw),
        ),
    }),
    route({
      method: 'DELETE',
      path: `${path}/:id`,
      permission,
      summary: 'Delete a site rule',
      tag,
      params,
      success: { status: 204 },
      handle: (request) => deleteSiteRule(sql, request.params.id, callerOf(request)),
    }),
  ];
}

function violationRoutes(deps: SiteRuleRouteDeps): RouteSpec[] {
  return [
    route({
      method: 'GET',
      path: `${path}/:id/violations`,
      permission,
      summary: 'List the jobs that break a site rule now',
      description:
        'Archived jobs are left out. Each page examines a limited number of jobs, so it may have few items or none and still continue at `nextCursor`.',
      tag,
      params,
      query: SiteRuleViolationQuerySchema,
      success: { status: 200, schema: SiteRuleViolationPageSchema },
      handle: ({ params, query, principal }) =>
        violationsOf(deps, params.id, query, principal.authority.reach('read')),
    }),
    route({
      method: 'POST',
      path: `${path}/try`,
      permission,
      summary: 'List the jobs that would break a site rule, without saving it',
      tag,
      body: TrySiteRuleRequestSchema,
      example: { rule: example, limit: 20 },
      success: { status: 200, schema: SiteRuleViolationPageSchema },
      handle: async ({ body, principal }) => {
        const { rule: asked, ...page } = body;
        const rule = await readSiteRule(deps.sql, asked, 'rule.');
        return findViolations(
          deps,
          rule,
          { ...page, cursorField: 'cursor' },
          principal.authority.reach('read'),
        );
      },
    }),
  ];
}
