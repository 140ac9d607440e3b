import { expect, test } from 'vitest';
import { isLoopback, proxyFor } from './proxy.ts';

const httpsProxy = 'http://proxy:3128';

test.each([
  ['https://ops.example.com', '', httpsProxy],
  ['https://ops.example.com', 'other.example', httpsProxy],
  ['https://ops.example.com', 'ops.example.com', undefined],
  ['https://ops.example.com', 'example.com', undefined],
  ['https://ops.example.com', '.example.com, localhost', undefined],
  ['https://ops.example.com', '*.example.com', undefined],
  ['https://notexample.com', 'example.com', httpsProxy],
  ['https://ops.example.com:8443', 'ops.example.com:443', httpsProxy],
  ['https://ops.example.com', 'ops.example.com:443', undefined],
  ['https://OPS.example.com', 'ops.EXAMPLE.com', undefined],
  ['https://ops.example.com', '*', undefined],
  ['https://[2001:db8::2]:7700', '2001:db8::2', undefined],
  ['https://[2001:db8::2]:7700', '2001:DB8:0::2', undefined],
  ['https://[2001:db8::2]:7700', 'a.example, [2001:db8::2]', undefined],
  ['https://[2001:db8::2]:7700', '[2001:db8::2]:7700', undefined],
  ['https://[2001:db8::2]:7700', '[2001:db8::2]:443', httpsProxy],
  ['https://[2001:db8::2]:7700', '2001:db8::3', httpsProxy],
  ['https://127.0.0.1', '', undefined],
  ['https://[::1]:8443', '', undefined],
  ['http://127.0.0.1', '', undefined],
])('%s with NO_PROXY=%s goes through %s', (server, noProxy, way) => {
  expect(proxyFor(new URL(server), { httpsProxy, noProxy })).toBe(way);
});

test('a proxy without a scheme is an HTTP proxy', () => {
  const settings = { httpsProxy: 'proxy:3128', noProxy: undefined };
  expect(proxyFor(new URL('https://ops.example.com'), settings)).toBe('http://proxy:3128');
});

test('without a setting there is no proxy', () => {
  expect(proxyFor(new URL('https://a.example'), { httpsProxy: '', noProxy: undefined })).toBeUndefined();
});

test.each([
  ['127.0.0.1', true],
  ['127.8.9.10', true],
  ['localhost', true],
  ['::1', true],
  ['127.0.0.1.example.com', false],
  ['localhost.example.com', false],
  ['10.0.0.1', false],
])('%s is loopback: %s', (host, expected) => {
  expect(isLoopback(host)).toBe(expected);
});
