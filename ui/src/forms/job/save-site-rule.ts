// Saves a site rule, which has a version as a whole, like the things that have none: by its fields.
import type { SiteRule } from '@opsconductor/protocol';
import { ApiError } from '../../api/client.ts';
import { fetchSiteRule, updateSiteRule } from '../../api/jobs/site-rules.ts';

export type RuleFields = Pick<
  SiteRule,
  | 'name'
  | 'description'
  | 'category'
  | 'selector'
  | 'per'
  | 'condition'
  | 'message'
  | 'path'
  | 'severity'
  | 'isEnabled'
>;

export function ruleFieldsOf(rule: SiteRule): RuleFields {
  const { name, description, category, selector, per, condition, message, path, severity, isEnabled } = rule;
  return { name, description, category, selector, per, condition, message, path, severity, isEnabled };
}

export class SiteRuleSaving {
  /** The rule as it was last read. */
  current: SiteRule;

  constructor(opened: SiteRule) {
    this.current = opened;
  }

  /**
   * Saves the changed fields on top of what others have saved meanwhile.
   *
   * @throws {ApiError} `conflict`, with a detail at `expected.<field>` for each field that others have changed as well
   */
  async save(change: Partial<RuleFields> & { expected: Partial<RuleFields> }): Promise<SiteRule> {
    const { expected, ...mine } = change;
    const { id, version } = this.current;
    const fields = { ...ruleFieldsOf(this.current), ...mine };
    try {
      this.current = await updateSiteRule(id, { ...fields, expectedVersion: version });
      return this.current;
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== 'conflict') throw error;
      this.current = await fetchSiteRule(id);
      // It conflicts with something else, such as the name of another rule.
      if (this.current.version === version) throw error;
      const now = ruleFieldsOf(this.current);
      const details = (Object.keys(expected) as (keyof RuleFields)[])
        .filter((field) => now[field] !== expected[field])
        .map((field) => ({ path: `expected.${field}`, message: 'It was changed.' }));
      if (details.length > 0) throw new ApiError('conflict', error.message, { details, cause: error });
      return this.save(change);
    }
  }
}
