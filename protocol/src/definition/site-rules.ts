// Checks a valid definition against an installation's site rules. Their total cost is bounded: if a definition uses it
// up, the rules that could not be evaluated count as broken.
import type { DefinitionProblem, SiteRuleSeverity } from '../api/errors.ts';
import type { JobDefinition } from '../api/jobs/jobs.ts';
import type { CreateSiteRuleRequest, SiteRuleSubject } from '../api/jobs/site-rules.ts';
import {
  type CompiledExpression,
  type ExpressionProblem,
  readExpression,
  toldWithPlace,
} from '../expressions/expression.ts';
import { celPart, PreparedValues } from '../expressions/scope.ts';
import { limits } from '../limits.ts';
import { matchesSelector } from '../selector/matches-selector.ts';
import { parseSelector } from '../selector/parse-selector.ts';
import type { Selector } from '../selector/selector.ts';

export interface SiteRuleText {
  name: string;
  category: string | null;
  selector: string | null;
  per: SiteRuleSubject;
  condition: string;
  message: string;
  path: string;
  severity: SiteRuleSeverity;
}

export interface CompiledSiteRule extends SiteRuleText {
  /** The condition, or why it can't be evaluated: what was valid when the rule was saved may no longer be. */
  asks: CompiledExpression | { problem: string };
  labels: Selector | undefined;
}

/** The definition as it would be stored, with category and labels, and the note of the save. */
export interface RuledDefinition {
  definition: JobDefinition & { category: string };
  note: string;
}

/** A rule as requested, with defaults filled in. */
export function siteRuleText(request: CreateSiteRuleRequest): SiteRuleText {
  const { name, category = null, selector = null, per = 'job', condition, message } = request;
  const { path = '', severity = 'error' } = request;
  return { name, category, selector, per, condition, message, path, severity };
}

/** Returns what is wrong with a condition. */
export function siteRuleProblems({
  condition,
  per,
}: Pick<SiteRuleText, 'condition' | 'per'>): ExpressionProblem[] {
  const read = readExpression(condition, { parameters: {}, definition: per });
  return 'problems' in read ? read.problems : [];
}

/** Compiles a rule as it was saved. */
export function compileSiteRule(rule: SiteRuleText): CompiledSiteRule {
  const read = readExpression(rule.condition, { parameters: {}, definition: rule.per });
  const labels = rule.selector === null ? undefined : parseSelector(rule.selector);
  const asks = 'problems' in read ? { problem: read.problems.map(toldWithPlace).join(' ') } : read.expression;
  return { ...rule, asks, labels };
}

/** Whether the rule applies to such a job, by its labels and by its category or one above it. */
export function isInScope(
  { category, labels }: Pick<CompiledSiteRule, 'category' | 'labels'>,
  job: { category: string; labels: Readonly<Record<string, string>> },
): boolean {
  const isThere = category === null || job.category === category || job.category.startsWith(`${category}/`);
  return isThere && (labels === undefined || matchesSelector(labels, { ...noTarget, labels: job.labels }));
}

const noTarget = { name: '', host: '', segment: '', groups: [], operatingSystem: '' };

/** Returns the rules that a definition breaks, in the order of the rules. Rules that don't apply to it are left out. */
export function brokenSiteRules(
  rules: readonly CompiledSiteRule[],
  { definition, note }: RuledDefinition,
): DefinitionProblem[] {
  const { category, labels = {} } = definition;
  const due = rules.filter((rule) => isInScope(rule, { category, labels }));
  if (due.length === 0) return [];
  const job = celPart({ ...definition, labels }) as { steps: unknown[] };
  const cost = { left: limits.maxSiteRuleSteps };
  return due.flatMap((rule) =>
    rule.per === 'job'
      ? problemOf(rule, { job, note }, '', cost)
      : job.steps.flatMap((step, at) => problemOf(rule, { job, note, step }, `steps[${at}]`, cost)),
  );
}

function problemOf(
  rule: CompiledSiteRule,
  values: Record<string, unknown>,
  root: string,
  cost: { left: number },
): DefinitionProblem[] {
  const { name, severity } = rule;
  const path = root === '' || rule.path === '' ? `${root}${rule.path}` : `${root}.${rule.path}`;
  const broken = (message: string) => [{ path, message, severity, rule: name }];
  if (cost.left <= 0) {
    return broken(`${rule.message} (The definition is too large to be checked against all rules.)`);
  }
  if ('problem' in rule.asks) {
    return broken(
      `${rule.message} (The rule can no longer be read; an administrator has to fix it. ${rule.asks.problem})`,
    );
  }
  const came = rule.asks.evaluate(new PreparedValues(values));
  cost.left -= came.steps;
  if (!came.ok)
    return broken(`${rule.message} (Whether the job complies can’t be determined: ${came.message})`);
  return came.value ? [] : broken(rule.message);
}
