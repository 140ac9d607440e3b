// Diffie-Hellman in a group that the server chooses (RFC 4419), within limits. ssh2 takes a group of any size, and has
// Node check that it is built on a prime, which holds up the whole agent: 3 s for 3,072 bits, 45 s for 8,192. The host
// signs the group with its key, so a check protects only from that host, and OpenSSH does without it, too.
import { createPublicKey, diffieHellman, generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { KeyExchange } from './key-exchanges.ts';

/** The parts of ssh2's group exchange that are used here. */
interface GroupExchange extends KeyExchange {
  _minBits: number;
  _prefBits: number;
  _maxBits: number;
  _prime: Buffer | null;
  _generator: Buffer | null;
  _public: Buffer | null;
  _dh: Group | null;
  setDHParams(prime: Buffer, generator: Buffer): void;
  generateKeys(): void;
}

interface Group {
  computeSecret(otherPublic: Buffer): Buffer;
  getPrime(): Buffer;
  getGenerator(): Buffer;
}

/** @types/node doesn't know this kind of key. */
const generateDhKeys = generateKeyPairSync as unknown as (
  type: 'dh',
  group: { prime: Buffer; generator: number },
) => { privateKey: KeyObject; publicKey: KeyObject };

/** About as strong as the curves that are preferred. A group of 8,192 bits takes half a second for each login. */
const maxBits = 4096;
const minBits = 2048;
/** What old devices have. */
const legacyMinBits = 1024;

/** Limits the exchange if the server is to choose a group in it. */
export function limitGroup(exchange: KeyExchange, { legacy = false }: { legacy?: boolean } = {}): void {
  if (!exchange.negotiated.kex.startsWith('diffie-hellman-group-exchange-')) return;
  const group = exchange as GroupExchange;
  const leastBits = legacy ? legacyMinBits : minBits;
  group._maxBits = maxBits;
  group._prefBits = Math.min(group._prefBits, maxBits);
  group.setDHParams = (prime, generator) => {
    const bits = bitsOf(prime);
    if (bits < leastBits || bits > maxBits) {
      throw new Error(
        `The server chose a group of ${bits} bits; from ${leastBits} to ${maxBits} are allowed`,
      );
    }
    const generatorBits = bitsOf(generator);
    if (generatorBits < 2 || generatorBits > 31) throw new Error('The server chose an unusual generator');
    group._prime = Buffer.from(unsigned(prime));
    group._generator = Buffer.from(unsigned(generator));
  };
  group.generateKeys = () => {
    if (group._dh !== null || group._prime === null || group._generator === null) return;
    const { dh, publicValue } = keysIn(group._prime, group._generator);
    group._dh = dh;
    group._public = publicValue;
  };
}

function keysIn(prime: Buffer, generator: Buffer): { dh: Group; publicValue: Buffer } {
  const { privateKey, publicKey } = generateDhKeys('dh', {
    prime,
    generator: generator.readUIntBE(0, generator.length),
  });
  const dh = {
    // This refuses a value outside of the group, and the two that would make the secret known.
    computeSecret: (otherPublic: Buffer) =>
      diffieHellman({ privateKey, publicKey: publicKeyOf(prime, generator, otherPublic) }),
    getPrime: () => prime,
    getGenerator: () => generator,
  };
  return { dh, publicValue: publicValueOf(publicKey) };
}

// ---- public keys in DER (RFC 5280 section 4.1.2.7, PKCS #3 section 9)

const sequence = 0x30;
const integer = 0x02;
const bitString = 0x03;
/** dhKeyAgreement, with its tag and length. */
const algorithm = Buffer.from('06092a864886f70d010301', 'hex');

function publicKeyOf(prime: Buffer, generator: Buffer, value: Buffer): KeyObject {
  const parameters = der(sequence, derInteger(prime), derInteger(generator));
  const wrapped = der(bitString, Buffer.alloc(1), derInteger(value));
  const key = der(sequence, der(sequence, algorithm, parameters), wrapped);
  return createPublicKey({ key, format: 'der', type: 'spki' });
}

function publicValueOf(publicKey: KeyObject): Buffer {
  const [, wrapped] = derParts(derParts(publicKey.export({ format: 'der', type: 'spki' }))[0] as Buffer);
  const [value] = derParts((wrapped as Buffer).subarray(1));
  return unsigned(value as Buffer);
}

function der(tag: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const length =
    body.length < 0x80 ? [body.length] : [0x82, Math.floor(body.length / 0x100), body.length % 0x100];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

function derInteger(number: Buffer): Buffer {
  const bytes = unsigned(number);
  return der(integer, (bytes[0] ?? 0) < 0x80 ? bytes : Buffer.concat([Buffer.alloc(1), bytes]));
}

/** Returns the contents of the elements that these bytes, which this process has made, consist of. */
function derParts(bytes: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const short = bytes[at + 1] as number;
    const more = short < 0x80 ? 0 : short - 0x80;
    const length = more === 0 ? short : bytes.readUIntBE(at + 2, more);
    const start = at + 2 + more;
    parts.push(bytes.subarray(start, start + length));
    at = start + length;
  }
  return parts;
}

function bitsOf(number: Buffer): number {
  const bytes = unsigned(number);
  return bytes.length * 8 - Math.clz32(bytes[0] ?? 0) + 24;
}

function unsigned(number: Buffer): Buffer {
  const start = number.findIndex((byte) => byte !== 0);
  return start < 0 ? number.subarray(0, 0) : number.subarray(start);
}
