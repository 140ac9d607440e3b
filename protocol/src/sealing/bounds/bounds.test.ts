import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type BoundsAttempt, boundsProblems, type CredentialBounds, checkBounds } from './bounds.ts';

const bounds: CredentialBounds = {
  hosts: ['db-*.example.com'],
  networks: ['10.1.0.0/16', '2001:db8::/32'],
  ports: [22, 2222],
  protocols: ['ssh'],
  user: 'deploy',
  authentication: ['publickey'],
};
const attempt: BoundsAttempt = {
  host: 'db-1.example.com',
  addresses: ['10.1.2.3', '2001:db8::5'],
  port: 22,
  protocol: 'ssh',
  user: 'deploy',
  authentication: 'publickey',
};

describe('checkBounds', () => {
  it('admits an attempt that is within all bounds', () => {
    expect(checkBounds(bounds, attempt)).toEqual({ ok: true });
  });

  it.each<[keyof CredentialBounds, Partial<BoundsAttempt>, string]>([
    ['hosts', { host: 'db-1.evil.org' }, 'db-1.evil.org'],
    ['networks', { addresses: ['10.2.0.1'] }, '10.2.0.1'],
    ['networks', { addresses: ['10.1.2.3', '203.0.113.9'] }, '203.0.113.9'],
    ['networks', { addresses: [] }, 'no address'],
    ['networks', { addresses: ['fe80::1%eth0'] }, 'fe80::1%eth0'],
    ['networks', { addresses: ['::ffff:10.2.0.1'] }, '::ffff:10.2.0.1'],
    ['ports', { port: 23 }, '23'],
    ['protocols', { protocol: 'winrm' }, 'winrm'],
    ['user', { user: 'root' }, 'root'],
    ['user', { user: 'Deploy' }, 'Deploy'],
    ['authentication', { authentication: 'password' }, 'password'],
  ])('refuses by %s: %o', (field, changes, found) => {
    const verdict = checkBounds(bounds, { ...attempt, ...changes });
    expect(verdict).toMatchObject({ ok: false, field, found });
  });

  it('says in one sentence what was found and what is allowed', () => {
    expect(checkBounds(bounds, { ...attempt, port: 23 })).toEqual({
      ok: false,
      field: 'ports',
      found: '23',
      allowed: '22, 2222',
      message: 'The credential may not be used for port 23; its bounds allow 22, 2222.',
    });
  });

  it('admits a mapped address by its IPv4 network', () => {
    expect(checkBounds(bounds, { ...attempt, addresses: ['::ffff:10.1.9.9'] })).toEqual({ ok: true });
  });

  it('requires both host and network if both are given, and only one if one is', () => {
    const elsewhere = { ...attempt, addresses: ['203.0.113.9'] };
    expect(checkBounds(bounds, elsewhere)).toMatchObject({ ok: false, field: 'networks' });
    expect(checkBounds({ ...bounds, networks: [] }, elsewhere)).toEqual({ ok: true });
    const renamed = { ...attempt, host: 'other' };
    expect(checkBounds(bounds, renamed)).toMatchObject({ ok: false, field: 'hosts' });
    expect(checkBounds({ ...bounds, hosts: [] }, renamed)).toEqual({ ok: true });
  });

  it('admits any host, address or user where * says so', () => {
    const open = { ...bounds, hosts: ['*'], networks: ['*'], user: '*' };
    expect(checkBounds(open, { ...attempt, host: 'x', addresses: ['::1'], user: 'y' })).toEqual({ ok: true });
  });

  it('never admits a set of addresses if any one of them is refused', () => {
    const address = fc.oneof(
      fc.constantFrom('10.1.0.0', '10.1.255.255', '10.2.0.0', '::ffff:10.1.0.1', '2001:db8::1', 'nonsense'),
      fc.ipV4(),
      fc.ipV6(),
    );
    fc.assert(
      fc.property(fc.array(address, { minLength: 1, maxLength: 5 }), (addresses) => {
        const all = checkBounds(bounds, { ...attempt, addresses }).ok;
        const each = addresses.every((one) => checkBounds(bounds, { ...attempt, addresses: [one] }).ok);
        expect(all).toBe(each);
      }),
    );
  });
});

describe('boundsProblems', () => {
  it('finds nothing wrong with valid bounds', () => {
    expect(boundsProblems(bounds)).toEqual([]);
  });

  it.each<[string, object, string]>([
    ['neither hosts nor networks', { hosts: [], networks: [] }, 'hosts'],
    ['a bad pattern', { hosts: ['ok', 'db.*'] }, 'hosts[1]'],
    ['a bad network', { networks: ['10.1.2.3/8'] }, 'networks[0]'],
    ['no port', { ports: [] }, 'ports'],
    ['port 0', { ports: [22, 0] }, 'ports[1]'],
    ['an unknown protocol', { protocols: ['telnet'] }, 'protocols[0]'],
    ['no authentication', { authentication: [] }, 'authentication'],
    ['an empty user', { user: '' }, 'user'],
    ['too many hosts', { hosts: Array(257).fill('a') }, 'hosts'],
  ])('names %s by its path', (_, changes, path) => {
    expect(boundsProblems({ ...bounds, ...changes }).map((problem) => problem.path)).toContain(path);
  });

  it.each([undefined, null, 'x', [], {}])('refuses %j, and does not throw', (value) => {
    expect(boundsProblems(value).length).toBeGreaterThan(0);
  });
});
