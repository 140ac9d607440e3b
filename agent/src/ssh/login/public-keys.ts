// The ways in which a private key is offered to a server: RSA signatures with SHA-2 (RFC 8332), and OpenSSH
// certificates, which ssh2 doesn't support (ADR 0030).
import { createPrivateKey, sign } from 'node:crypto';
import type { SshAlgorithmPolicy } from '@opsconductor/protocol';
import type { Client, ParsedKey } from 'ssh2';
import { keyType } from '../host-key.ts';
import {
  type Certificate,
  certificateSuffix,
  moment,
  readCertificate,
} from '../host-keys/host-certificate.ts';
import { WireError, WireReader, wireString } from '../host-keys/wire-reader.ts';
import { SshError } from '../ssh-error.ts';

const userAuthRequest = 50;

/** One way in which a key is offered. */
export interface OfferedKey {
  key: ParsedKey;
  /** Its name in messages. */
  name: string;
}

/**
 * Returns the ways to offer a key, best first: with its certificate if there is one, then by itself. Only the legacy
 * policy allows SHA-1 signatures.
 *
 * @throws SshError `credential_unusable` if the certificate can't be read, is for another key or is not valid now
 */
export function offersOf(
  key: ParsedKey,
  certificate: string | undefined,
  policy: SshAlgorithmPolicy = 'current',
  nowMs = Date.now(),
): OfferedKey[] {
  const plain = signaturesOf(key, policy).map((each) => ({ key: each, name: 'publickey' }));
  if (certificate === undefined) return plain;
  const blob = certificateBlob(key, certificate, nowMs);
  const certified = signaturesOf(key, 'current').map((each) => ({
    key: offeredAs(each, `${each.type}${certificateSuffix}`, blob),
    name: 'publickey with its certificate',
  }));
  return [...certified, ...plain];
}

function signaturesOf(key: ParsedKey, policy: SshAlgorithmPolicy): ParsedKey[] {
  // ssh2 itself would sign with SHA-1 for a server that doesn't say what it accepts.
  if (key.type === 'ssh-rsa') {
    const bySha2 = (['sha512', 'sha256'] as const).map((hash) =>
      varied(key, `rsa-sha2-${hash.slice(3)}`, { sign: (data) => key.sign(data, hash) }),
    );
    return policy === 'legacy' ? [...bySha2, key] : bySha2;
  }
  return [key];
}

/** Returns the same key under the name of another algorithm, with another public part. */
function offeredAs(key: ParsedKey, type: string, blob: Buffer): ParsedKey {
  const isEcdsa = key.type.startsWith('ecdsa-');
  return varied(key, type, {
    getPublicSSH: () => blob,
    // ssh2 encodes ECDSA signatures in SSH's format only for the types that it knows.
    ...(isEcdsa ? { sign: (data: Buffer | string) => ecdsaSignature(key, Buffer.from(data)) } : {}),
  });
}

function varied(key: ParsedKey, type: string, other: Partial<ParsedKey>): ParsedKey {
  return Object.assign(Object.create(key) as ParsedKey, { type, ...other });
}

/** Signs as RFC 5656, section 3.1.2 says. */
function ecdsaSignature(key: ParsedKey, data: Buffer): Buffer {
  const hash = { nistp256: 'sha256', nistp384: 'sha384', nistp521: 'sha512' }[key.type.slice(-8)] ?? 'sha256';
  const privateKey = createPrivateKey(key.getPrivatePEM());
  const both = sign(hash, data, { key: privateKey, dsaEncoding: 'ieee-p1363' });
  const half = both.length / 2;
  return Buffer.concat([both.subarray(0, half), both.subarray(half)].map((part) => wireString(mpint(part))));
}

/** RFC 4251, section 5: no leading zero bytes, except one if the number would otherwise look negative. */
function mpint(bytes: Buffer): Buffer {
  const first = bytes.findIndex((byte) => byte !== 0);
  const number = first < 0 ? Buffer.alloc(0) : bytes.subarray(first);
  return (number[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), number]) : number;
}

function certificateBlob(key: ParsedKey, text: string, nowMs: number): Buffer {
  const blob = Buffer.from(text.trim().split(/\s+/)[1] ?? '', 'base64');
  const certificate = readOrRefuse(blob);
  if (certificate === undefined || keyType(blob) !== text.trim().split(/\s+/)[0]) {
    throw unusable('can’t be read', 'Store the whole line of the file whose name ends in -cert.pub.');
  }
  if (certificate.isHost) throw unusable('is one for hosts, not for users', 'Have the key signed for users.');
  if (!certificate.plainKey.equals(key.getPublicSSH())) {
    throw unusable(
      'belongs to another key',
      'Store the credential again with the certificate of its own key.',
    );
  }
  const now = BigInt(Math.floor(nowMs / 1_000));
  if (now < certificate.validAfter || now >= certificate.validBefore) {
    const when = now < certificate.validAfter ? certificate.validAfter : certificate.validBefore;
    const what = now < certificate.validAfter ? 'is not valid before' : 'expired at';
    throw unusable(`${what} ${moment(when)}`, 'Have the key signed again, and store the credential again.');
  }
  return blob;
}

function readOrRefuse(blob: Buffer): Certificate | undefined {
  try {
    return readCertificate(blob);
  } catch (error) {
    if (error instanceof WireError) return undefined;
    throw error;
  }
}

function unusable(what: string, advice: string): SshError {
  return new SshError({
    reason: 'credential_unusable',
    message: `The certificate of the credential’s key ${what}.`,
    advice,
  });
}

/** The parts of ssh2's protocol that are used here. */
interface Protocol {
  authPK(user: string, key: ParsedKey, ...more: unknown[]): void;
  _packetRW: { write: PacketWriter };
}
interface PacketWriter {
  allocStart: number;
  alloc(size: number, force?: boolean): Buffer;
  finalize(packet: Buffer, force?: boolean): Buffer;
}

/** More than a login takes: one for each way to offer its key. */
const maxSignatures = 16;

/**
 * Ends the connection of a server that asks for one signature after the other. With an RSA key each takes milliseconds,
 * and a megabyte holds tens of thousands of such requests. Call it right after `connect`.
 */
export function limitSignatures(client: Client): void {
  const protocol = (client as unknown as { _protocol: Protocol })._protocol;
  const authPK = protocol.authPK.bind(protocol);
  let made = 0;
  protocol.authPK = (user, key, ...more) => {
    // Without a function that signs, it only asks whether the server would take the key.
    if (more.some((each) => typeof each === 'function')) made += 1;
    if (made > maxSignatures) throw new Error('the server asked for too many signatures');
    authPK(user, key, ...more);
  };
}

/**
 * Makes a client able to offer keys with certificates. Call it right after `connect`. ssh2 also writes the name of the
 * certificate's algorithm into the signature, where the name of the key's own algorithm belongs; that is corrected when
 * the packet is finalized.
 */
export function offerCertificates(client: Client): void {
  const protocol = (client as unknown as { _protocol: Protocol })._protocol;
  const authPK = protocol.authPK.bind(protocol);
  protocol.authPK = (user, key, ...more) => {
    if (!key.type.endsWith(certificateSuffix)) return authPK(user, key, ...more);
    const { write } = protocol._packetRW;
    const { alloc, finalize } = write;
    let size = 0;
    write.alloc = (wanted, force) => {
      size = wanted;
      return alloc.call(write, wanted, force);
    };
    write.finalize = (packet, force) => {
      const start = write.allocStart;
      const payload = withPlainSignature(packet.subarray(start, start + size));
      if (payload === undefined) return finalize.call(write, packet, force);
      const other = alloc.call(write, payload.length, force);
      other.set(payload, start);
      return finalize.call(write, other, force);
    };
    try {
      authPK(user, key, ...more);
    } finally {
      write.alloc = alloc;
      write.finalize = finalize;
    }
  };
}

/**
 * Returns a signed SSH_MSG_USERAUTH_REQUEST (RFC 4252, section 7) with the correct algorithm name in its signature;
 * undefined for other messages.
 */
function withPlainSignature(payload: Buffer): Buffer | undefined {
  if (payload[0] !== userAuthRequest) return undefined;
  const names = new WireReader(payload.subarray(1));
  names.string();
  names.string();
  names.string();
  const flagAt = 1 + names.position;
  if (payload[flagAt] !== 1) return undefined;
  const offered = new WireReader(payload.subarray(flagAt + 1));
  const algorithm = offered.text();
  offered.string();
  const signatureAt = flagAt + 1 + offered.position;
  const signature = new WireReader(offered.string());
  signature.string();
  const plain = algorithm.slice(0, -certificateSuffix.length);
  const bytes = Buffer.concat([wireString(plain), wireString(signature.string())]);
  return Buffer.concat([payload.subarray(0, signatureAt), wireString(bytes)]);
}
