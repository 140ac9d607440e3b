import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { limits } from '../limits.ts';
import { matchesSelector } from './matches-selector.ts';
import { parseSelector } from './parse-selector.ts';
import { printSelector } from './print-selector.ts';
import { labelNamesOf, patternsOf, type SelectableTarget, type Selector, SelectorError } from './selector.ts';
import { anySelector } from './testing.ts';

const web: SelectableTarget = {
  name: 'web-1',
  host: 'Web-1.Example.com',
  segment: 'dmz-1',
  groups: ['Web servers', 'eu/west'],
  operatingSystem: 'linux',
  labels: { env: 'prod', canary: '', 'app.example.com/tier': 'front end' },
};
const matches = (text: string) => matchesSelector(parseSelector(text), web);

/** Without columns, which say where a term was written, not what it tests. */
function bare(selector: Selector): Selector {
  switch (selector.kind) {
    case 'and':
    case 'or':
      return { kind: selector.kind, terms: selector.terms.map(bare) };
    case 'not':
      return { kind: 'not', term: bare(selector.term) };
    default: {
      const { column: _, ...rest } = { column: 0, ...selector };
      return rest as Selector;
    }
  }
}

describe('a selector', () => {
  it.each([
    'env=prod',
    'env = prod',
    'env!=stage',
    'other!=x',
    'env in (prod, stage)',
    'env notin (dev,stage)',
    'other notin (x)',
    'canary',
    'canary=""',
    '!absent',
    'not absent',
    'os=linux',
    'os!=windows',
    'os in (linux, other)',
    'segment:dmz-1',
    'segment:dmz-*',
    'group:"Web servers"',
    "group:'Web*'",
    'group:eu/*',
    'name:web-*',
    'name:*-1',
    'name:w*b*1',
    'name:*',
    'host:web-1.example.com',
    'host:*.EXAMPLE.com',
    "app.example.com/tier='front end'",
    'env=prod canary os=linux segment:dmz-1',
    'env=prod and canary',
    'env=stage or canary',
    '(env=stage or env=prod) canary',
    '!(env=stage absent)',
    '!env=stage',
    'absent env=prod or canary',
  ])('%s matches such a target', (text) => {
    expect(matches(text)).toBe(true);
  });

  it.each([
    'env=Prod',
    'env=pro',
    'other=x',
    'env!=prod',
    'env in (dev, stage)',
    'env notin (prod)',
    '!canary',
    'absent',
    'os=windows',
    'segment:dmz',
    'segment:DMZ-1',
    'group:"Web server"',
    'name:web',
    'name:web-1*1',
    'name:*2',
    'host:example.com',
    'env=prod absent',
    'env=stage or absent',
    'canary (env=stage or env=dev)',
    '!(env=prod)',
    'constructor',
    'toString=x',
  ])('%s does not match it', (text) => {
    expect(matches(text)).toBe(false);
  });

  it('gives or a lower precedence than adjacent terms', () => {
    expect(bare(parseSelector('a b or c'))).toEqual({
      kind: 'or',
      terms: [
        {
          kind: 'and',
          terms: [
            { kind: 'label', name: 'a' },
            { kind: 'label', name: 'b' },
          ],
        },
        { kind: 'label', name: 'c' },
      ],
    });
  });

  it('names the labels and patterns in it, with their columns', () => {
    const selector = parseSelector('env=a !(env or tier in (x)) group:"B c" or !group:d*');
    expect(labelNamesOf(selector)).toEqual(['env', 'tier']);
    expect(patternsOf(selector, 'group')).toEqual([
      { pattern: 'B c', column: 29 },
      { pattern: 'd*', column: 45 },
    ]);
    expect(patternsOf(selector, 'segment')).toEqual([]);
  });

  it('is parsed back to what was printed', () => {
    fc.assert(
      fc.property(anySelector(), (selector) => {
        const text = printSelector(selector);
        expect(bare(parseSelector(text))).toEqual(selector);
      }),
      { numRuns: 1000 },
    );
  });

  it('is parsed, or refused with a column in the text, whatever the text is', () => {
    const piece = fc.constantFrom(
      'a',
      'os',
      'in',
      'or',
      '!',
      '=',
      '!=',
      '(',
      ')',
      ',',
      ':',
      ' ',
      '"',
      "'",
      '*',
      '\\',
      '😀',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
        const text = pieces.join('');
        try {
          parseSelector(text);
        } catch (error) {
          expect(error).toBeInstanceOf(SelectorError);
          const { column, fix, message } = error as SelectorError;
          expect(column).toBeGreaterThanOrEqual(1);
          expect(column).toBeLessThanOrEqual([...text].length + 1);
          expect(fix).toMatch(/\.$/);
          expect(message).toContain(fix);
        }
      }),
      { numRuns: 3000 },
    );
  });
});

describe('invalid selectors are refused, with the column and what to write:', () => {
  it.each([
    ['', 1, 'name:*'],
    ['  ', 1, 'name:*'],
    ['env=', 5, 'Write one here'],
    ['env=prod,stage', 9, 'env in (…, …)'],
    ['env!=prod,stage', 10, 'env notin (…, …)'],
    ['env=pro*', 5, 'in (…)'],
    ['env in prod', 8, 'Write ( before'],
    ['env in (prod stage)', 14, 'comma'],
    ['env in (prod', 8, 'Write ) after'],
    ['env not in (prod)', 5, 'notin'],
    ['env in ()', 9, 'Write one here'],
    ['a or', 5, 'Write one'],
    ['or a', 1, 'label=value'],
    ['a )', 3, 'Remove it'],
    ['(a', 1, 'Write )'],
    ['env="prod', 5, 'second "'],
    ['os', 1, 'os='],
    ['!os', 2, 'os='],
    ['os=solaris', 4, 'linux, windows, other'],
    ['os:linux', 3, 'os='],
    ['env:prod', 4, 'env='],
    ['segment=dmz-1', 1, 'segment:…'],
    ['segment!=dmz-1', 1, '!segment:…'],
    ['name', 1, 'name:…'],
    ['segment: dmz-1', 8, 'right behind'],
    ['group:""', 6, 'right behind'],
    ['host:fd00::1', 10, 'host:"…"'],
    ['t=12:30', 5, 'Write "…"'],
    ['web-*', 1, 'name:web-*'],
    ['-a', 1, 'letters'],
    ['env=in', 5, 'Quote it'],
    ['"a"', 1, 'label=value'],
    ['a=b & c', 5, 'letters'],
  ])('%s', (text, column, fix) => {
    try {
      parseSelector(text);
    } catch (error) {
      expect(error).toMatchObject({ name: 'SelectorError', column });
      expect((error as SelectorError).fix).toContain(fix);
      return;
    }
    throw new Error(`${text} was read`);
  });

  it('more than the limits of length, tests and depth', () => {
    const values = (count: number) => `a in (${Array(count).fill('x').join(',')})`;
    const nested = (depth: number) => `${'('.repeat(depth)}a${')'.repeat(depth)}`;
    expect(() => parseSelector(`a=${'x'.repeat(limits.maxSelectorLength)}`)).toThrow(
      /at most 2000 characters/,
    );
    expect(parseSelector(values(limits.maxSelectorTerms))).toBeDefined();
    expect(() => parseSelector(values(limits.maxSelectorTerms + 1))).toThrow(/at most 64 tests/);
    expect(() => parseSelector(Array(65).fill('a').join(' '))).toThrow(/at most 64 tests/);
    expect(parseSelector(nested(limits.maxSelectorDepth - 1))).toBeDefined();
    expect(() => parseSelector(nested(limits.maxSelectorDepth))).toThrow(/nested deeper/);
    expect(() => parseSelector(`${'!'.repeat(1900)}a`)).toThrow(/nested deeper/);
  });
});
