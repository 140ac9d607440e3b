import { describe, expect, it } from 'vitest';
import { addressOf } from './target.ts';

const effective = { credentialId: null, credentialName: null };

describe('the address of a target', () => {
  it('leaves out the port of its protocol', () => {
    expect(addressOf({ host: 'web-01', effective: { ...effective, protocol: 'ssh', port: 22 } })).toBe(
      'web-01',
    );
    expect(addressOf({ host: 'win-01', effective: { ...effective, protocol: 'winrm', port: 5986 } })).toBe(
      'win-01',
    );
  });

  it('names any other port, including an inherited one', () => {
    expect(addressOf({ host: 'web-01', effective: { ...effective, protocol: 'ssh', port: 2222 } })).toBe(
      'web-01:2222',
    );
  });

  it('puts an IPv6 address in brackets before a port', () => {
    expect(addressOf({ host: 'fe80::1', effective: { ...effective, protocol: 'ssh', port: 2222 } })).toBe(
      '[fe80::1]:2222',
    );
  });
});
