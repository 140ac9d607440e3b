import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { hostPatternProblem, matchesHost } from './host-pattern.ts';

describe('hostPatternProblem', () => {
  it.each([
    '*',
    'db1',
    'web-*',
    'DB1.Example.COM',
    '*.example.com',
    'web-*-a.example.com',
    'a_b.local',
    'x.',
    '10.1.2.3',
    '2001:db8::1',
  ])('accepts %s', (pattern) => {
    expect(hostPatternProblem(pattern)).toBeUndefined();
  });

  it.each([
    ['', 'host name'],
    ['a..b', 'host name'],
    ['db1 ', 'host name'],
    ['dé.example.com', 'host name'],
    ['https://db1', 'host name'],
    ['a?', 'host name'],
    ['**', 'one *'],
    ['a*b*c.example.com', 'one *'],
    ['db.*', 'last label'],
    ['*.*', 'IP address'],
    ['10.0.0.*', 'IP address'],
    ['*.0.0.1', 'IP address'],
    ['10*', 'IP address'],
    ['a'.repeat(64), 'host name'],
    [`${'a.'.repeat(127)}a`, 'longer'],
  ])('says of %j what is wrong: %s', (pattern, message) => {
    expect(hostPatternProblem(pattern)).toContain(message);
  });
});

describe('matchesHost', () => {
  it.each([
    ['*', 'anything.example.com', true],
    ['*', '10.0.0.1', true],
    ['db1.example.com', 'DB1.EXAMPLE.com', true],
    ['DB1.Example.com', 'db1.example.com.', true],
    ['db1.example.com', 'db1.example.com.evil.org', false],
    ['db1.example.com', 'db1xexample.com', false],
    ['*.example.com', 'web.example.com', true],
    ['*.example.com', 'a.b.example.com', false],
    ['*.example.com', 'example.com', false],
    ['*.example.com', '.example.com', false],
    ['*.example.com', 'web.example.com.evil.org', false],
    ['web-*', 'web-1', true],
    ['web-*', 'web-', false],
    ['web-*', 'web-1.evil.org', false],
    ['web-*-a', 'web-1-a', true],
    ['web-*-a', 'web-a', false],
    ['10.1.2.3', '10.1.2.3', true],
    ['10.1.2.3', '::ffff:10.1.2.3', true],
    ['::1', '0:0:0:0:0:0:0:1', true],
    ['web-*', '10.1.2.3', false],
    ['kelvin', '\u212aelvin', false],
  ])('%s matches %s: %s', (pattern, host, matched) => {
    expect(matchesHost(pattern, host)).toBe(matched);
  });

  const label = fc.string({ unit: fc.constantFrom('a', 'b', '-', '1'), minLength: 1, maxLength: 5 });
  const pattern = fc
    .tuple(
      fc.array(
        fc.oneof(
          label,
          label.map((text) => `${text.slice(1)}*`),
        ),
        { maxLength: 2 },
      ),
      label,
    )
    .map(([labels, last]) => [...labels, last].join('.'))
    .filter((text) => hostPatternProblem(text) === undefined);

  it('agrees with the regular expression that the rule describes', () => {
    const host = fc.array(label, { minLength: 1, maxLength: 3 }).map((labels) => labels.join('.'));
    fc.assert(
      fc.property(pattern, host, (text, name) => {
        const source = text.replaceAll('.', '\\.').replaceAll('*', '[^.]+');
        expect(matchesHost(text, name)).toBe(new RegExp(`^${source}$`).test(name));
      }),
      { numRuns: 2_000 },
    );
  });

  it('matches every host made by filling in a *', () => {
    fc.assert(
      fc.property(pattern, label, (text, filling) => {
        expect(matchesHost(text, text.replaceAll('*', filling))).toBe(true);
      }),
    );
  });
});
