// The rules in force, and which of them a definition breaks. A definition is checked when it is saved, imported, moved
// or validated; an existing job stays as it is and runs.
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

/** A definition as it would be saved. If it names no category, `category` is the default one. */
export interface HeldDefinition {
  definition: JobDefinition & { category: string };
  note: string;
}

/** A stored job whose definition can't be opened, so that nobody can say whether it complies. */
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

  /** Returns the rules that a valid definition breaks. */
  problems(held: HeldDefinition | UnopenedJob): DefinitionProblem[] {
    return problemsOf(this.#rules, held);
  }

  /**
   * Refuses a definition that breaks a rule of severity `error`.
   * @returns the problems that are warnings.
   * @throws {AppError} `invalid` with a detail for each broken rule of severity `error`; warnings are not among them.
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

/** Returns which of these rules a job breaks. A condition that can't be evaluated counts as broken, with the reason. */
export function problemsOf(
  rules: readonly CompiledSiteRule[],
  held: HeldDefinition | UnopenedJob,
): DefinitionProblem[] {
  if ('definition' in held) return brokenSiteRules(rules, held);
  return rules
    .filter((rule) => isInScope(rule, held))
    .map(({ name, message, severity }) => ({
      path: '',
      message: `${message} (Whether the job complies can’t be determined: ${held.why})`,
      severity,
      rule: name,
    }));
}

/** Loads the rules in force now. */
export async function loadSiteRules(sql: Queryable): Promise<SiteRules> {
  return new SiteRules((await enabledSiteRules(sql)).map(textOf));
}

export function textOf(row: SiteRuleRow): SiteRuleText {
  const { name, category, selector, per, condition, message, path, severity } = row;
  return { name, category, selector, per, condition, message, path, severity };
}

/** Returns a broken rule as a detail of an error; its sentence names the rule. */
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
