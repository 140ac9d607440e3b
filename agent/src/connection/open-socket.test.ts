import { closeCodes } from '@opsconductor/protocol';
import { expect, test } from 'vitest';
import { explainClose, wasAnswered } from './open-socket.ts';

const failed = (message: string, code?: string) =>
  Object.assign(new Error(message), code === undefined ? {} : { code });

test.each([
  ['refuses', failed('connect ECONNREFUSED 10.0.0.1:443', 'ECONNREFUSED'), false],
  ['breaks before TLS', failed('Client network socket disconnected', 'ECONNRESET'), false],
  ['is a load balancer with no server behind it', failed('Unexpected server response: 503'), false],
  ['asks to come later', failed('Unexpected server response: 429'), true],
  ['shows a certificate of another CA', failed('self-signed certificate', 'SELF_SIGNED_CERT_IN_CHAIN'), true],
])('if the other side %s, a server has answered: %s', (_, error, answered) => {
  expect(wasAnswered({ opened: false, error })).toBe(answered);
});

test('a connection that broke after it was open was answered', () => {
  expect(wasAnswered({ opened: true, error: failed('read ECONNRESET', 'ECONNRESET') })).toBe(true);
});

test('the reason that a server gives can not write over a terminal', () => {
  const told = explainClose(closeCodes.quarantined, 'a \u001b[2J\u202ecopy\nok');
  expect(told).toContain('(a \\u{1b}[2J\\u{202e}copy\\u{a}ok)');
});

test('a refused agent is told about a restore first, and not to enroll again before that is ruled out', () => {
  expect(explainClose(closeCodes.unauthenticated, 'the database was set back')).toMatch(
    /restored from a backup \(the database was set back\)\. After a restore .*"npm run restored".*Do not enroll this machine again.*last agent/,
  );
});

test.each([
  [
    'agent is revoked',
    /revoked on the server, which can’t be undone.*new token and "enroll --force"/,
    /enable/i,
  ],
  ['agent is disabled', /disabled on the server\. Enable it in the console/, /enroll/],
])('if the server says that an %s, the advice is about that alone', (reason, told, untold) => {
  const text = explainClose(closeCodes.unauthenticated, reason);
  expect(text).toMatch(told);
  expect(text).not.toMatch(untold);
});
