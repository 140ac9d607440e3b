// Turns a selector into a condition of a query on targets. Values are bound, never written into the text. Label tests
// are containments (`@>`), for which the GIN index on labels is used.
import type { Selector } from '@opsconductor/protocol';
import type { Queryable } from '../database/connection.ts';
import { likePattern } from '../database/cursor.ts';
import type { Condition } from '../people/visibility.ts';

/**
 * Returns a condition that is never null, so it can be negated. `alias` is that of `targets`. Send the query
 * `unprepared`, because its text varies without limit.
 */
export function selectorCondition(sql: Queryable, selector: Selector, alias = 't'): Condition {
  const t = sql.unsafe(alias);
  switch (selector.kind) {
    case 'and':
    case 'or': {
      const terms = selector.terms.map((term) => selectorCondition(sql, term, alias));
      const sign = sql.unsafe(selector.kind);
      return sql`(${terms.reduce((before, term) => sql`${before} ${sign} ${term}`)})`;
    }
    case 'not':
      return sql`not ${selectorCondition(sql, selector.term, alias)}`;
    case 'label':
      return sql`jsonb_exists(${t}.labels, ${selector.name})`;
    case 'value': {
      const tests: Condition[] = selector.values.map(
        (value) => sql`${t}.labels @> ${sql.json({ [selector.name]: value })}::jsonb`,
      );
      return sql`(${tests.reduce((before, test) => sql`${before} or ${test}`)})`;
    }
    case 'os':
      return sql`${t}.operating_system = any(${selector.values as string[]}::text[])`;
    case 'name':
      return sql`${t}.name ${likeText(sql, selector.pattern)}`;
    case 'host':
      return sql`lower(${t}.host) ${likeText(sql, selector.pattern.toLowerCase())}`;
    case 'segment':
      return sql`${t}.segment_id = any(array(
        select sg.id from segments sg where sg.name ${likeText(sql, selector.pattern)}))`;
    case 'group':
      return sql`${t}.id in (select gm.target_id from target_group_members gm
        join target_groups gg on gg.id = gm.target_group_id where gg.name ${likeText(sql, selector.pattern)})`;
  }
}

/** Returns the right side of a comparison of a whole text with a pattern in which `*` stands for anything. */
function likeText(sql: Queryable, pattern: string): Condition {
  return pattern.includes('*') ? sql`like ${likePattern(pattern)}` : sql`= ${pattern}`;
}
