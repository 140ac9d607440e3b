// The three messages of NTLM (MS-NLMP 2.2.1), as bytes.

/** MS-NLMP 2.2.2.5. */
export const flags = {
  unicode: 0x1,
  requestTarget: 0x4,
  sign: 0x10,
  seal: 0x20,
  ntlm: 0x200,
  alwaysSign: 0x8000,
  extendedSessionSecurity: 0x80000,
  targetInfo: 0x800000,
  version: 0x2000000,
  key128: 0x20000000,
  keyExchange: 0x40000000,
  key56: 0x80000000,
} as const;

/** MS-NLMP 2.2.2.1. */
export const pairIds = { end: 0, flags: 6, timestamp: 7, targetName: 9, channelBindings: 10 } as const;

const signature = Buffer.from('NTLMSSP\0', 'latin1');
// Windows 10, NTLM revision 15: what every current client sends.
const version = Buffer.from([10, 0, 0x61, 0x4a, 0, 0, 0, 15]);
export const micOffset = 72;
const authenticateHeader = 88;

export class NtlmMessageError extends Error {
  override readonly name = 'NtlmMessageError';
}

export interface AttributePair {
  id: number;
  value: Buffer;
}

export interface Challenge {
  flags: number;
  serverChallenge: Buffer;
  targetInfo: AttributePair[];
}

export function negotiateMessage(asked: number): Buffer {
  const message = Buffer.alloc(40);
  signature.copy(message);
  message.writeUInt32LE(1, 8);
  message.writeUInt32LE(asked >>> 0, 12);
  version.copy(message, 32);
  return message;
}

/** @throws {NtlmMessageError} for anything that is not a complete challenge. */
export function readChallenge(message: Buffer): Challenge {
  if (message.length < 48 || !message.subarray(0, 8).equals(signature) || message.readUInt32LE(8) !== 2) {
    throw new NtlmMessageError('the answer is not an NTLM challenge');
  }
  const length = message.readUInt16LE(40);
  const offset = message.readUInt32LE(44);
  if (offset + length > message.length) throw new NtlmMessageError('the NTLM challenge is cut short');
  return {
    flags: message.readUInt32LE(20),
    serverChallenge: message.subarray(24, 32),
    targetInfo: readPairs(message.subarray(offset, offset + length)),
  };
}

function readPairs(bytes: Buffer): AttributePair[] {
  const pairs: AttributePair[] = [];
  for (let at = 0; at + 4 <= bytes.length; ) {
    const id = bytes.readUInt16LE(at);
    const length = bytes.readUInt16LE(at + 2);
    if (id === pairIds.end) return pairs;
    if (at + 4 + length > bytes.length) break;
    pairs.push({ id, value: bytes.subarray(at + 4, at + 4 + length) });
    at += 4 + length;
  }
  throw new NtlmMessageError('the target information of the NTLM challenge has no end');
}

export function writePairs(pairs: readonly AttributePair[]): Buffer {
  const parts = pairs.flatMap(({ id, value }) => {
    const header = Buffer.alloc(4);
    header.writeUInt16LE(id, 0);
    header.writeUInt16LE(value.length, 2);
    return [header, value];
  });
  return Buffer.concat([...parts, Buffer.alloc(4)]);
}

export interface AuthenticateFields {
  flags: number;
  lmResponse: Buffer;
  ntResponse: Buffer;
  domain: string;
  user: string;
  workstation: string;
  encryptedSessionKey: Buffer;
}

/** With 16 zero bytes in place of the message integrity code, at `micOffset`. */
export function authenticateMessage(fields: AuthenticateFields): Buffer {
  const header = Buffer.alloc(authenticateHeader);
  signature.copy(header);
  header.writeUInt32LE(3, 8);
  const payload: Buffer[] = [];
  let offset = authenticateHeader;
  const put = (at: number, value: Buffer) => {
    header.writeUInt16LE(value.length, at);
    header.writeUInt16LE(value.length, at + 2);
    header.writeUInt32LE(offset, at + 4);
    payload.push(value);
    offset += value.length;
  };
  put(28, Buffer.from(fields.domain, 'utf16le'));
  put(36, Buffer.from(fields.user, 'utf16le'));
  put(44, Buffer.from(fields.workstation, 'utf16le'));
  put(12, fields.lmResponse);
  put(20, fields.ntResponse);
  put(52, fields.encryptedSessionKey);
  header.writeUInt32LE(fields.flags >>> 0, 60);
  version.copy(header, 64);
  return Buffer.concat([header, ...payload]);
}
