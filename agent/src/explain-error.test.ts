import { expect, test } from 'vitest';
import { explainFileError, explainReachError, unreachableAdvice } from './explain-error.ts';

const server = 'https://ops.example.com:7700';
const through = (httpsProxy: string, noProxy?: string) => ({ httpsProxy, noProxy });
const failed = (code: string) => Object.assign(new Error(`connect ${code}`), { code });

test('without a proxy the message says that the server could not be reached', () => {
  expect(explainReachError(failed('ECONNREFUSED'), server).message).toBe(`${server} refused the connection.`);
});

test.each([
  ['ECONNREFUSED', 'refused the connection'],
  ['EAI_AGAIN', 'could not be looked up: the name service did not answer'],
  ['ETIMEDOUT', 'did not answer in time'],
])(
  'a proxy that can’t be reached (%s) is named instead of the server, without its password',
  (code, what) => {
    const { message, fix } = explainReachError(failed(code), server, through('http://me:hush@proxy:3128'));
    expect(message).toBe(`The proxy proxy:3128, through which ${server} is reached, ${what}.`);
    expect(fix).toContain('HTTPS_PROXY');
  },
);

test.each([
  [404, 'HTTP/1.1 with the headers Upgrade and Connection'],
  [426, 'HTTP/1.1 with the headers Upgrade and Connection'],
  [301, 'redirects'],
  [421, '--public-url'],
  [502, 'reaches no server'],
])('an answer %i in place of a WebSocket says what to set in the proxy or the server', (status, fix) => {
  const told = explainReachError(new Error(`Unexpected server response: ${status}`), server);
  expect(told.message).toBe(`${server} answered the agent’s WebSocket with HTTP ${status}.`);
  expect(told.fix).toContain(fix);
});

test('behind a proxy, a certificate problem is still the server’s', () => {
  const { message } = explainReachError(failed('CERT_HAS_EXPIRED'), server, through('http://proxy:3128'));
  expect(message).toBe(`${server} has a certificate that has expired.`);
});

test('if the proxy is not used for a server, the server itself is named', () => {
  const { message } = explainReachError(
    failed('ECONNREFUSED'),
    server,
    through('http://proxy:3128', 'example.com'),
  );
  expect(message).toBe(`${server} refused the connection.`);
});

test('a proxy setting that is not an address is reported as such', () => {
  const { message, fix } = explainReachError(new TypeError('Invalid URL'), server, through('http://a b'));
  expect(`${message} ${fix}`).toMatch(/^HTTPS_PROXY is not the address of a proxy\. .*http:\/\/proxy/);
});

test.each([
  ['EROFS', 'mount it writable'],
  ['ENOSPC', 'Make room'],
  ['EACCES', 'who owns its data directory'],
  ['ELOOP', 'doctor'],
])('a file that meets %s is named, with what to do', (code, fix) => {
  const message = `${code}: not now, open '/var/lib/opsconductor-agent/lock'`;
  const error = Object.assign(new Error(message), { code, errno: -1, syscall: 'open' });
  expect(explainFileError(error)).toMatchObject({
    message: `${message}.`,
    fix: expect.stringContaining(fix),
  });
});

test('a fault of the program is not explained as an error of a file', () => {
  expect(explainFileError(new TypeError('x is not a function'))).toBeUndefined();
});

test('a certificate of the server’s own CA is explained to agents and to programs alike', () => {
  const { message, fix } = explainReachError(failed('SELF_SIGNED_CERT_IN_CHAIN'), server);
  expect(message).toBe(`${server} has a certificate that is not trusted here.`);
  expect(fix).toContain('--ca-file: on the server it is <data>/tls/ca.pem');
});

test('a host that answers to nobody in the agent’s own network may be off, one behind a missing route not', () => {
  expect(unreachableAdvice('EHOSTUNREACH')).toContain('switched on');
  expect(unreachableAdvice('ENETUNREACH')).not.toContain('switched on');
});
