// Sealed messages over HTTP (MS-WSMV 2.2.9.1): MIME in two parts. The second part is read by its lengths and never by
// looking for the boundary, which may occur anywhere in sealed data.
import { protocolError } from '../winrm-error.ts';

const boundary = 'Encrypted Boundary';
const soapType = 'application/soap+xml;charset=UTF-8';

export interface Sealed {
  signature: Buffer;
  data: Buffer;
  /** Length of the plain message. */
  plainLength: number;
}

export function sealedContentType(protocol: string): string {
  return `multipart/encrypted;protocol="${protocol}";boundary="${boundary}"`;
}

export function writeSealed({ signature, data, plainLength }: Sealed, protocol: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(signature.length);
  return Buffer.concat([
    Buffer.from(
      `--${boundary}\r\n` +
        `\tContent-Type: ${protocol}\r\n` +
        `\tOriginalContent: type=${soapType};Length=${plainLength}\r\n` +
        `--${boundary}\r\n` +
        '\tContent-Type: application/octet-stream\r\n',
      'latin1',
    ),
    length,
    signature,
    data,
    Buffer.from(`--${boundary}--\r\n`, 'latin1'),
  ]);
}

const head = new RegExp(
  `^-- ?${boundary}\\r\\n` +
    '((?:[ \\t]*[A-Za-z-]+:[^\\r\\n]*\\r\\n)+)' +
    `-- ?${boundary}\\r\\n` +
    '[ \\t]*Content-Type:[ \\t]*application/octet-stream\\r\\n',
  'i',
);
/** Some hosts leave out the last two dashes. */
const tail = new RegExp(`^-- ?${boundary}(?:--)?(?:\\r\\n)?$`, 'i');
const maxHeadBytes = 1_024;
const maxSignatureBytes = 1_024;

/** @throws {WinrmError} of kind `protocol` for anything that is not exactly one sealed message. */
export function readSealed(body: Buffer, protocol: string): Sealed {
  const match = head.exec(body.subarray(0, maxHeadBytes).toString('latin1'));
  const headers = match?.[1] ?? '';
  if (match === null || !headers.toLowerCase().includes(protocol.toLowerCase())) {
    throw protocolError('the sealed reply does not have the parts that it should');
  }
  const plainLength = Number(/;Length=(\d{1,9})\s*$/im.exec(headers)?.[1] ?? Number.NaN);
  const start = match[0].length + 4;
  if (!Number.isInteger(plainLength) || body.length < start) {
    throw protocolError('the sealed reply does not say how long it is');
  }
  const signatureLength = body.readUInt32LE(start - 4);
  const end = start + signatureLength + plainLength;
  if (signatureLength > maxSignatureBytes || !tail.test(body.subarray(end).toString('latin1'))) {
    throw protocolError('the lengths in the sealed reply are wrong');
  }
  return {
    signature: body.subarray(start, start + signatureLength),
    data: body.subarray(start + signatureLength, end),
    plainLength,
  };
}
