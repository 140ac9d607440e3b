import { expect, test } from 'vitest';
import { loginFailure } from './gss-failure.ts';

// In the words of MIT Kerberos 1.20.
test.each([
  ['Clock skew too great', /NTP/],
  ['Ticket expired', /kinit/],
  ['Improper format of Kerberos configuration file', /krb5\.conf/],
  ['Configuration file does not specify default realm', /realm in the user’s name/],
  ['Included profile file could not be read', /krb5\.conf/],
  ['No key table entry found for ann@CORP.TEST', /Recreate the keytab/],
  ['Keytab contains no suitable keys for ann@CORP.TEST', /Recreate the keytab/],
  ['KDC has no support for encryption type', /Allow AES/],
  ['Cannot find KDC for realm "CORP.TEST"', /domain controllers/],
  ['Server HTTP/web@CORP.TEST not found in Kerberos database', /service principal/],
  ['Preauthentication failed', /user and password/],
  ['Additional pre-authentication required', /smart card/],
  ['Invalid message type', /what answers for the realm/],
  ['Generic error (see e-text)', /what answers for the realm/],
  ['Unknown credential cache type', /FILE:/],
])('“%s” is reported with what to check', (problem, advice) => {
  const failure = loginFailure(problem);
  expect(failure.message).toBe(`The login by Kerberos failed: ${problem}.`);
  expect(failure.advice).toMatch(advice);
});

test('what a KDC says is shown with its control characters as codes, and not at any length', () => {
  const said = 'KDC returned error string: \u001b]0;gone\u0007\r\nroot@host:~# \u202e';
  const { message } = loginFailure(`${said}${'x'.repeat(60_000)}`);
  expect(message).toContain('string: \\u{1b}]0;gone\\u{7}\\u{d}\\u{a}root@host:~# \\u{202e}x');
  expect(message.length).toBeLessThan(400);
});
