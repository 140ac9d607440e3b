// Parses IP addresses and CIDR networks strictly: text that one program reads as 10.0.0.8 and another as octal must not
// pass a security check. An IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) counts as its IPv4 address.

export interface IpAddress {
  family: 4 | 6;
  value: bigint;
}

export interface IpNetwork {
  family: 4 | 6;
  /** First address of the network. */
  base: bigint;
  prefixBits: number;
}

const familyBits = { 4: 32, 6: 128 } as const;
const mappedHead = 0xffffn;
const decimalByte = /^(?:0|[1-9][0-9]{0,2})$/;
const hextet = /^[0-9a-f]{1,4}$/i;

/** Parses an address; returns `undefined` for all but the plain forms (no leading zeros, zone or brackets). */
export function parseAddress(text: string): IpAddress | undefined {
  const v4 = parseIpv4(text);
  if (v4 !== undefined) return { family: 4, value: v4 };
  const v6 = parseIpv6(text);
  if (v6 === undefined) return undefined;
  return v6 >> 32n === mappedHead ? { family: 4, value: v6 & 0xffff_ffffn } : { family: 6, value: v6 };
}

/** Parses `address/prefix`; a returned string says what is wrong with it. */
export function parseNetwork(text: string): IpNetwork | string {
  const slash = text.indexOf('/');
  if (slash === -1) return 'must be a network with its prefix length, such as 10.1.0.0/16 or 10.1.2.3/32';
  const [addressText, prefixText] = [text.slice(0, slash), text.slice(slash + 1)];
  const address = parseAddress(addressText);
  if (address === undefined) return 'does not begin with an IP address in its plain form';
  if (!decimalByte.test(prefixText)) return 'must end in a prefix length without leading zeros';
  const mapped = address.family === 4 && addressText.includes(':');
  const prefixBits = Number(prefixText) - (mapped ? 96 : 0);
  if (prefixBits < 0 || prefixBits > familyBits[address.family]) {
    return mapped ? 'must be written as an IPv4 network' : `has a prefix above ${familyBits[address.family]}`;
  }
  const hostBits = BigInt(familyBits[address.family] - prefixBits);
  const base = (address.value >> hostBits) << hostBits;
  if (base !== address.value) {
    return `has address bits beyond its prefix; the network is ${formatAddress(address.family, base)}/${prefixBits}`;
  }
  return { family: address.family, base, prefixBits };
}

/**
 * Whether the address is in the network. An IPv4 address, mapped or not, is never in an IPv6 network, not even ::/0.
 */
export function networkContains(network: IpNetwork, address: IpAddress): boolean {
  if (network.family !== address.family) return false;
  const hostBits = BigInt(familyBits[network.family] - network.prefixBits);
  return address.value >> hostBits === network.base >> hostBits;
}

function parseIpv4(text: string): bigint | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let value = 0n;
  for (const part of parts) {
    if (!decimalByte.test(part) || Number(part) > 255) return undefined;
    value = (value << 8n) | BigInt(part);
  }
  return value;
}

function parseIpv6(text: string): bigint | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map((half) => (half === '' ? [] : half.split(':')));
  if (head === undefined) return undefined;
  const groups = [...head, ...(tail ?? [])];
  const last = groups.at(-1);
  if (last?.includes('.')) {
    // "1.2.3.4::" is not an address: the IPv4 form must end the text.
    const v4 = text.endsWith(last) ? parseIpv4(last) : undefined;
    if (v4 === undefined) return undefined;
    const hextets = [(v4 >> 16n).toString(16), (v4 & 0xffffn).toString(16)];
    (tail ?? head).splice(-1, 1, ...hextets);
    return joinHextets(head, tail);
  }
  return joinHextets(head, tail);
}

/** `tail` is what follows `::`; without `::` it is `undefined` and all groups must be present. */
function joinHextets(head: readonly string[], tail: readonly string[] | undefined): bigint | undefined {
  const missing = 8 - head.length - (tail?.length ?? 0);
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
  const groups = [...head, ...Array<string>(missing).fill('0'), ...(tail ?? [])];
  if (!groups.every((group) => hextet.test(group))) return undefined;
  return groups.reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n);
}

function formatAddress(family: 4 | 6, value: bigint): string {
  const groups = family === 4 ? 4 : 8;
  const bits = BigInt(familyBits[family] / groups);
  return Array.from({ length: groups }, (_, i) => {
    const group = (value >> (bits * BigInt(groups - 1 - i))) & ((1n << bits) - 1n);
    return group.toString(family === 4 ? 10 : 16);
  }).join(family === 4 ? '.' : ':');
}
