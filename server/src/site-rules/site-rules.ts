// The rules that are in force, and what a definition breaks of them. They are looked at when a definition is saved,
// imported, moved or checked; a job that is there already stays as it is and runs.
import {
  brokenSiteRules,
  type CompiledSiteRule,
  compileSiteRule,
  type DefinitionProblem,
  type ErrorDetail,
  isInScope,
  type JobDefinition,
  type Labels,
  type SiteRuleText,
} from '@opsconductor/protocol';
import { AppError } from '../errors.ts';
import type { Queryable } from '../store/database/connection.ts';
import { enabledSiteRules, type SiteRuleRow } from '../store/jobs/site-rules.ts';

/** A definition as it would be saved. Where it names no category it is for that of jobs that name none. */
export interface HeldDefinition {
  definition: JobDefinition & { category: string };
  note: string;
}

/** A stored job of which the definition can't be opened: what a rule asks of it can't be told. */
export interface UnopenedJob {
  category: string;
  labels: Labels;
  why: string;
}

export class SiteRules {
  readonly #rules: readonly CompiledSiteRule[];

  constructor(rules: readonly SiteRuleText[]) {
    this.#rules = rules.map(compiled);
  }

  get isEmpty(): boolean {
    return this.#rules.length === 0;
  }

  /** What a definition that is right in itself breaks. */
  problems(held: HeldDefinition | UnopenedJob): DefinitionProblem[] {
    return problemsOf(this.#rules, held);
  }

  /**
   * Refuses a definition that breaks a rule of severity `error`.
   *
   * @returns the problems that are warnings.
   * @throws {AppError} `invalid` with a detail for each rule that it breaks, and warnings beside them.
   */
  refuseBroken(held: HeldDefinition): DefinitionProblem[] {
    const problems = this.problems(held);
    const errors = problems.filter(({ severity }) => severity === 'error');
    const [first] = errors;
    if (first === undefined) return problems;
    const told = first.path === '' ? first.message : `${first.path}: ${first.message}`;
    const message =
      errors.length === 1
        ? `Site rule “${first.rule}”: ${told}`
        : `The job breaks ${errors.length} site rules. “${first.rule}”: ${told}`;
    throw new AppError('invalid', message, { details: errors.map(siteRuleDetail) });
  }
}

/** What a job breaks of these; as of a condition that can't be asked, that counts as broken, with the reason. */
export function problemsOf(
  rules: readonly CompiledSiteRule[],
  held: HeldDefinition | UnopenedJob,
): DefinitionProblem[] {
  if ('definition' in held) return brokenSiteRules(rules, held);
  return rules
    .filter((rule) => isInScope(rule, held))
    .map(({ name, message, severity }) => ({
      path: '',
      message: `${message} (This can’t be determined: ${held.why})`,
      ...{ severity, rule: name },
    }));
}

/** The rules in force now. */
export async function loadSiteRules(sql: Queryable): Promise<SiteRules> {
  return new SiteRules((await enabledSiteRules(sql)).map(textOf));
}

export function textOf(row: SiteRuleRow): SiteRuleText {
  const { name, category, selector, per, condition, message, path, severity } = row;
  return { name, category, selector, per, condition, message, path, severity };
}

/** What breaks a rule, among the other details of an error: which rule it is stands in its sentence. */
export function siteRuleDetail({ path, message, rule }: DefinitionProblem): ErrorDetail {
  return { path, message: `Site rule “${rule}”: ${message}` };
}

const known = new Map<string, CompiledSiteRule>();
const maxKnown = 500;

function compiled(rule: SiteRuleText): CompiledSiteRule {
  const key = JSON.stringify(rule);
  const before = known.get(key);
  if (before !== undefined) return before;
  const made = compileSiteRule(rule);
  if (known.size >= maxKnown) known.delete(known.keys().next().value ?? '');
  known.set(key, made);
  return made;
}
