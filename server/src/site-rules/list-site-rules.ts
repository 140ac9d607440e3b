import { limits, type SiteRule, type SiteRulePage } from '@opsconductor/protocol';
import { notFound } from '../errors.ts';
import type { Queryable } from '../store/database/connection.ts';
import { pageOf } from '../store/database/cursor.ts';
import { findSiteRule, listSiteRules as listRows, type SiteRuleRow } from '../store/jobs/site-rules.ts';

export async function listSiteRules(
  sql: Queryable,
  { limit = limits.defaultPageItems, cursor }: { limit?: number; cursor?: string },
): Promise<SiteRulePage> {
  const rows = await listRows(sql, { limit, cursor });
  return pageOf(rows, limit, ({ name, id }) => [name, id], toSiteRule);
}

/** @throws {AppError} `not_found`. */
export async function getSiteRule(sql: Queryable, id: number): Promise<SiteRule> {
  const row = await findSiteRule(sql, id);
  if (row === undefined) throw notFound('Site rule');
  return toSiteRule(row);
}

function toSiteRule({ categoryId: _, ...row }: SiteRuleRow): SiteRule {
  return {
    ...row,
    createdBy: row.createdBy ?? 'deleted user',
    createdAt: row.createdAt.toISOString(),
    updatedBy: row.updatedBy ?? 'deleted user',
    updatedAt: row.updatedAt.toISOString(),
  };
}
