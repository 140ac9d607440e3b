import {
  type CreateSiteRuleRequest,
  type ErrorDetail,
  limits,
  parseSelector,
  type Selector,
  SelectorError,
  type SiteRule,
  type SiteRuleText,
  siteRuleProblems,
  siteRuleText,
  toldWithPlace,
  type UpdateSiteRuleRequest,
} from '@opsconductor/protocol';
import { recordAudit } from '../audit/record-audit.ts';
import { auditedBy, type Caller } from '../caller.ts';
import { noSuchCategory } from '../categories/no-such-category.ts';
import {
  type ExpectedVersion,
  namingOf,
  refuseAhead,
  requireExpectedVersion,
} from '../conflicts/expected-version.ts';
import { AppError, invalidField, notFound } from '../errors.ts';
import { type Sql, type Tx, violatedConstraint } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { holdCategory } from '../store/jobs/categories.ts';
import {
  countSiteRules,
  deleteSiteRule as deleteRow,
  insertSiteRule,
  lockSiteRule,
  type SiteRuleFields,
  type SiteRuleRow,
  updateSiteRule as updateRow,
} from '../store/jobs/site-rules.ts';
import { refuseUnstorableText } from '../validation/storable-text.ts';
import { getSiteRule } from './list-site-rules.ts';

/**
 * @throws {AppError} `invalid` with all its problems; `conflict` for a taken name, or if the maximum number of rules
 * exists.
 */
export async function createSiteRule(
  sql: Sql,
  request: CreateSiteRuleRequest,
  caller: Caller,
): Promise<SiteRule> {
  refuseUnstorableText(request);
  refuseProblems(request);
  const id = await inTransaction(sql, async (tx) => {
    if ((await countSiteRules(tx)) >= limits.maxSiteRules) {
      throw new AppError(
        'conflict',
        `There are ${limits.maxSiteRules} site rules, which is the most; delete one first.`,
      );
    }
    const fields = await fieldsOf(tx, request);
    const id = await insertSiteRule(tx, fields, caller.userId);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'site_rule.created',
      object: { kind: 'site_rule', id },
      detail: auditedFields(fields, request.category),
    });
    return id;
  }).catch((error) => {
    throw nameTaken(error, request.name);
  });
  return getSiteRule(sql, id);
}

/**
 * Replaces a rule as a whole.
 * @param ifMatch the version that was changed, if the request's header names it.
 * @throws {AppError} as `createSiteRule`; `not_found`; `conflict` if it was changed again since.
 */
export async function updateSiteRule(
  sql: Sql,
  id: number,
  { expectedVersion: told, ...request }: UpdateSiteRuleRequest,
  caller: Caller,
  ifMatch?: number,
): Promise<SiteRule> {
  refuseUnstorableText(request);
  const expected = requireExpectedVersion(told, ifMatch);
  refuseProblems(request);
  await inTransaction(sql, async (tx) => {
    const before = await lockSiteRule(tx, id);
    if (before === undefined) throw notFound('Site rule');
    refuseStale(before, expected);
    const fields = await fieldsOf(tx, request);
    await updateRow(tx, id, fields, caller.userId);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'site_rule.changed',
      object: { kind: 'site_rule', id },
      detail: {
        from: auditedFields(before, before.category),
        to: auditedFields(fields, request.category),
      },
    });
  }).catch((error) => {
    throw nameTaken(error, request.name);
  });
  return getSiteRule(sql, id);
}

/** @throws {AppError} `not_found`. */
export async function deleteSiteRule(sql: Sql, id: number, caller: Caller): Promise<void> {
  await inTransaction(sql, async (tx) => {
    const rule = await lockSiteRule(tx, id);
    if (rule === undefined) throw notFound('Site rule');
    await deleteRow(tx, id);
    await recordAudit(tx, {
      ...auditedBy(caller),
      action: 'site_rule.deleted',
      object: { kind: 'site_rule', id },
      detail: auditedFields(rule, rule.category),
    });
  });
}

/**
 * Checks a rule that is only tried out, like one that is to be saved.
 * @throws {AppError} `invalid` with all its problems.
 */
export async function readSiteRule(
  sql: Sql,
  request: CreateSiteRuleRequest,
  root: string,
): Promise<SiteRuleText> {
  refuseProblems(request, root);
  await inTransaction(sql, (tx) => categoryIdOf(tx, request.category ?? null, root));
  return siteRuleText(request);
}

/** @throws {AppError} `invalid` for an invalid selector or condition. */
function refuseProblems(request: CreateSiteRuleRequest, root = ''): void {
  const details = [
    ...selectorProblems(request.selector ?? undefined, `${root}selector`),
    ...siteRuleProblems(siteRuleText(request)).map((problem): ErrorDetail => {
      const { found, allowed } = problem;
      return {
        path: `${root}condition`,
        message: toldWithPlace(problem),
        ...(found === undefined ? {} : { found }),
        ...(allowed === undefined ? {} : { allowed }),
      };
    }),
  ];
  const [first] = details;
  if (first === undefined) return;
  throw new AppError('invalid', `${first.path}: ${first.message}`, { details });
}

function selectorProblems(text: string | undefined, path: string): ErrorDetail[] {
  if (text === undefined) return [];
  try {
    const other = kindsOf(parseSelector(text)).find((kind) => kind !== 'label' && kind !== 'value');
    if (other === undefined) return [];
    const message = `A job has labels and no ${other === 'os' ? 'operating system' : other}; name labels only.`;
    return [{ path, message, found: text.slice(0, 100), allowed: 'labels: `env=prod`, `!legacy`' }];
  } catch (error) {
    if (!(error instanceof SelectorError)) throw error;
    return [{ path, message: error.message, found: text.slice(0, 100) }];
  }
}

function kindsOf(selector: Selector): Selector['kind'][] {
  if ('terms' in selector) return selector.terms.flatMap(kindsOf);
  return 'term' in selector ? kindsOf(selector.term) : [selector.kind];
}

async function fieldsOf(tx: Tx, request: CreateSiteRuleRequest): Promise<SiteRuleFields> {
  const { category, ...text } = siteRuleText(request);
  const { description = '', isEnabled = true } = request;
  return { ...text, description, isEnabled, categoryId: await categoryIdOf(tx, category) };
}

async function categoryIdOf(tx: Tx, name: string | null, root = ''): Promise<number | null> {
  if (name === null) return null;
  const category = await holdCategory(tx, name);
  if (category !== undefined) return category.id;
  const { path, message, found } = noSuchCategory(name, `${root}category`);
  throw invalidField(path, message, { found });
}

function auditedFields(rule: SiteRuleFields | SiteRuleRow, category: string | null | undefined) {
  const { name, description, selector, per, condition, message, path, severity, isEnabled } = rule;
  return {
    name,
    description,
    category: category ?? null,
    selector,
    per,
    condition,
    message,
    path,
    severity,
    isEnabled,
  };
}

function refuseStale({ version, updatedBy }: SiteRuleRow, expected: ExpectedVersion): void {
  if (expected.version === version) return;
  refuseAhead(expected, version, `The rule’s version is ${version}.`);
  throw new AppError(
    'conflict',
    `${updatedBy ?? 'Somebody'} changed the rule since you opened version ${expected.version}. Look at the current rule, then save again with ${namingOf(expected, version)}.`,
  );
}

function nameTaken(error: unknown, name: string): unknown {
  if (violatedConstraint(error) !== 'site_rules_name_key') return error;
  const message = `There is a site rule named ${name} already; choose another name.`;
  return new AppError('conflict', message, { cause: error, details: [{ path: 'name', message }] });
}
