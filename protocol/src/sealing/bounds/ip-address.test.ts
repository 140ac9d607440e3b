import { BlockList, isIPv4, isIPv6 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type IpNetwork, networkContains, parseAddress, parseNetwork } from './ip-address.ts';

const contains = (network: string, address: string) => {
  const [read, parsed] = [parseNetwork(network), parseAddress(address)];
  if (typeof read === 'string' || parsed === undefined)
    throw new Error(`${network} or ${address} is invalid`);
  return networkContains(read, parsed);
};
/** Text similar to addresses: valid ones in every form, and pieces in any order. */
const nearAddress = fc.oneof(
  fc.ipV4(),
  fc.ipV6(),
  fc.ipV4Extended(),
  fc
    .array(fc.constantFrom('1', '0', '00', 'ff', '255', '256', '08', ':', '::', '.', '1.2.3.4', 'g', ''), {
      maxLength: 10,
    })
    .map((parts) => parts.join('')),
);

describe('parseAddress', () => {
  it('accepts exactly what the platform accepts as an address', () => {
    fc.assert(
      fc.property(nearAddress, (text) => {
        expect(parseAddress(text) !== undefined).toBe(isIPv4(text) || isIPv6(text));
      }),
      { numRuns: 20_000 },
    );
  });

  it.each([
    '010.0.0.1', // octal to inet_aton
    '0x0a.0.0.1',
    '10.1',
    '167772161',
    '10.0.0.1 ',
    '10.0.0.256',
    '[::1]',
    'fe80::1%eth0',
    '1::2::3',
    ':::',
    '1.2.3.4::',
    '::ffff:010.0.0.1',
    '12345::',
    '',
  ])('refuses %j', (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });

  it('treats a mapped address as its IPv4 address, in each notation', () => {
    const plain = parseAddress('10.1.2.3');
    expect(plain).toEqual({ family: 4, value: 0x0a010203n });
    expect(parseAddress('::ffff:10.1.2.3')).toEqual(plain);
    expect(parseAddress('::FFFF:0a01:0203')).toEqual(plain);
    expect(parseAddress('0:0:0:0:0:ffff:10.1.2.3')).toEqual(plain);
  });

  it('reads IPv6 in full, shortened and with an IPv4 tail', () => {
    expect(parseAddress('2001:db8::1')).toEqual({ family: 6, value: (0x20010db8n << 96n) | 1n });
    expect(parseAddress('64:ff9b::10.0.0.1')).toEqual(parseAddress('64:ff9b::a00:1'));
    expect(parseAddress('::')).toEqual({ family: 6, value: 0n });
  });
});

describe('parseNetwork', () => {
  it.each([
    ['10.0.0.1', 'prefix length'],
    ['10.0.0.0/08', 'leading zeros'],
    ['10.0.0.0/', 'leading zeros'],
    ['10.0.0.0/33', 'above 32'],
    ['2001:db8::/129', 'above 128'],
    ['010.0.0.0/8', 'plain form'],
    ['10.0.0.0/8/8', 'leading zeros'],
    ['10.1.2.3/8', 'the network is 10.0.0.0/8'],
    ['2001:db8::1/32', 'the network is 2001:db8:0:0:0:0:0:0/32'],
    ['::ffff:0.0.0.0/90', 'IPv4 network'],
  ])('says of %s what is wrong: %s', (text, message) => {
    expect(parseNetwork(text)).toContain(message);
  });

  it('reads a mapped network as the IPv4 network', () => {
    expect(parseNetwork('::ffff:10.0.0.0/104')).toEqual(parseNetwork('10.0.0.0/8'));
  });
});

describe('networkContains', () => {
  it.each([
    ['10.0.0.0/8', '10.255.255.255', true],
    ['10.0.0.0/8', '11.0.0.0', false],
    ['10.1.2.3/32', '10.1.2.3', true],
    ['10.1.2.3/32', '10.1.2.4', false],
    ['0.0.0.0/0', '203.0.113.9', true],
    ['10.0.0.0/8', '::ffff:10.9.9.9', true],
    ['::/0', '10.0.0.1', false],
    ['::/0', '::ffff:10.0.0.1', false],
    ['0.0.0.0/0', '::1', false],
    ['2001:db8::/32', '2001:db8:ffff::1', true],
    ['2001:db8::/32', '2001:db9::1', false],
  ])('%s holds %s: %s', (network, address, held) => {
    expect(contains(network, address)).toBe(held);
  });

  it('agrees with the platform on every IPv4 network and address', () => {
    fc.assert(
      fc.property(fc.ipV4(), fc.nat(32), fc.ipV4(), fc.nat(32), (text, prefixBits, other, flip) => {
        const address = parseAddress(text);
        if (address === undefined) throw new Error(text);
        const hostBits = BigInt(32 - prefixBits);
        const network: IpNetwork = { family: 4, base: (address.value >> hostBits) << hostBits, prefixBits };
        const list = new BlockList();
        list.addSubnet(text, prefixBits, 'ipv4');
        // The address itself with one bit flipped lies close to the network's edge, unlike a random one.
        const near = flip < 32 ? address.value ^ (1n << BigInt(flip)) : address.value;
        const nearText = [24n, 16n, 8n, 0n].map((shift) => (near >> shift) & 255n).join('.');
        for (const candidate of [text, nearText, other]) {
          const parsed = parseAddress(candidate);
          expect(parsed && networkContains(network, parsed)).toBe(list.check(candidate, 'ipv4'));
        }
      }),
    );
  });
});
