import { expect, test } from 'vitest';
import { knownHostName, matchesHostPattern, matchesHostPatternList } from './host-pattern-list.ts';

test('a star matches any text, a question mark one character, and case is ignored', () => {
  expect(matchesHostPattern('Web-1.example.com', '*.EXAMPLE.com')).toBe(true);
  expect(matchesHostPattern('web-1', 'web-?')).toBe(true);
  expect(matchesHostPattern('web-12', 'web-?')).toBe(false);
  expect(matchesHostPattern('a.b.c', '*.b.*')).toBe(true);
  expect(matchesHostPattern('', '*')).toBe(true);
  expect(matchesHostPattern('web', 'web*b')).toBe(false);
});

test('a negated pattern excludes a host, wherever it is in the list', () => {
  expect(matchesHostPatternList('web-1.example.com', '*.example.com,!web-2.example.com')).toBe(true);
  expect(matchesHostPatternList('web-2.example.com', '!web-2.example.com,*.example.com')).toBe(false);
  expect(matchesHostPatternList('web-2.example.com', '*.example.com,!web-2.example.com')).toBe(false);
  // A list of only negations matches no host.
  expect(matchesHostPatternList('web-1', '!web-2')).toBe(false);
});

test('a pattern with many stars is matched quickly', () => {
  // Processor time, whatever else the machine does.
  const before = process.cpuUsage();
  expect(matchesHostPattern('a'.repeat(2_000), `${'*a'.repeat(200)}*b`)).toBe(false);
  expect(process.cpuUsage(before).user).toBeLessThan(1_000_000);
});

test('a port other than 22 is part of the name', () => {
  expect(knownHostName('Web-1', 22)).toBe('web-1');
  expect(knownHostName('web-1', 2222)).toBe('[web-1]:2222');
});
