import { expect, test } from 'vitest';
import { AgentError } from '../agent-error.ts';
import { parseServerUrl } from './server-trust.ts';

function refusalOf(address: string): string {
  try {
    parseServerUrl(address);
  } catch (error) {
    if (error instanceof AgentError) return `${error.message} ${error.fix}`;
    throw error;
  }
  throw new Error('it was not refused');
}

test.each([
  [
    'https://ops.example.com/prefix?x=1',
    /--server ends with \/prefix\?x=1, .*: https:\/\/ops\.example\.com\.$/,
  ],
  ['https://ops.example.com:8443/#a', /--server ends with \/#a, .*: https:\/\/ops\.example\.com:8443\.$/],
  ['http://127.0.0.1:7700/?', /--server ends with \/\?, .*: http:\/\/127\.0\.0\.1:7700\.$/],
])('what would not be used of the address %s is refused, with the address to give', (address, told) => {
  expect(refusalOf(address)).toMatch(told);
});

test('an address with credentials is refused, and they are not repeated', () => {
  const told = refusalOf('https://ann:hidden@ops.example.com/#code=abc');
  expect(told).toMatch(/--server has a user name or a password in it, .*: https:\/\/ops\.example\.com\. /);
  expect(told).not.toMatch(/ann|hidden|abc/);
  expect(refusalOf('https://:hidden@ops.example.com')).toContain('a password in it');
});

test('an address may end with a slash, and name the port that its scheme has', () => {
  expect(parseServerUrl('https://ops.example.com:443/').origin).toBe('https://ops.example.com');
  expect(parseServerUrl('http://localhost:7700').origin).toBe('http://localhost:7700');
});
