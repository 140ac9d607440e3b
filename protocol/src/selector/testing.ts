// Random selectors over few names, so that random targets match them.
import fc from 'fast-check';
import type { PatternField, Selector } from './selector.ts';

const value = fc.oneof(
  fc.constantFrom(
    '',
    'prod',
    'stage',
    'Prod',
    'a b',
    'in',
    'x*',
    '"',
    '\\',
    "it's",
    'ü',
    '%',
    '_',
    '1,2',
    '(',
    'a:b',
  ),
  fc.string({ minLength: 1, maxLength: 4, unit: 'grapheme' }).filter((text) => !/[\p{C}]/u.test(text)),
);
const labelName = fc.constantFrom('env', 'tier', 'canary', 'a/b.c', '1');
const pattern = (field: PatternField): fc.Arbitrary<Selector> =>
  fc
    .constantFrom(
      'web-1',
      'web-*',
      '*',
      '*-1',
      'w*b*',
      'dmz-1',
      'dmz-*',
      'eu west',
      '*west',
      'a_b',
      'a%',
      'WEB-1',
      '**',
    )
    .map((text) => ({ kind: field, pattern: text }));

/** Generates selectors as the parser returns them, without columns. */
export function anySelector(fields: readonly PatternField[] = ['segment', 'group', 'name', 'host']) {
  const leaf: fc.Arbitrary<Selector> = fc.oneof(
    labelName.map((name): Selector => ({ kind: 'label', name })),
    fc
      .record({ name: labelName, values: fc.array(value, { minLength: 1, maxLength: 3 }) })
      .map((test): Selector => ({ kind: 'value', ...test })),
    fc
      .array(fc.constantFrom('linux', 'windows', 'other'), { minLength: 1, maxLength: 2 })
      .map((values): Selector => ({ kind: 'os', values })),
    ...fields.map(pattern),
  );
  const { selector } = fc.letrec<{ selector: Selector }>((tie) => ({
    selector: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      leaf,
      fc
        .record({
          kind: fc.constantFrom('and' as const, 'or' as const),
          terms: fc.array(tie('selector'), { minLength: 2, maxLength: 3 }),
        })
        .map((both): Selector => both),
      tie('selector').map((term): Selector => ({ kind: 'not', term })),
    ),
  }));
  return selector;
}
