// Requests and frames as bytes, including ones that no client library would send.
import { subprotocol } from '@opsconductor/protocol';
import type { Prng } from '../faults/prng.ts';

export function requestHead(path: string, headers: readonly string[] = [], method = 'GET'): string {
  return [`${method} ${path} HTTP/1.1`, 'Host: 127.0.0.1', ...headers, '', ''].join('\r\n');
}

/** With a JSON body of that length, or one that doesn't state its length. */
export function postHead(path: string, length: number | undefined, headers: readonly string[] = []): string {
  const framing = length === undefined ? 'Transfer-Encoding: chunked' : `Content-Length: ${length}`;
  return requestHead(path, ['Content-Type: application/json', framing, ...headers], 'POST');
}

export function upgradeHead(): string {
  return requestHead('/api/v1/agent/connect', [
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
    `Sec-WebSocket-Protocol: ${subprotocol}`,
    'Sec-WebSocket-Extensions: permessage-deflate',
  ]);
}

/** The header of a masked text frame of that length. */
export function frameHead(length: number): Buffer {
  const head = Buffer.alloc(14);
  head[0] = 0x81;
  head[1] = 0xff;
  head.writeBigUInt64BE(BigInt(length), 2);
  return head;
}

/** The first bytes of a text frame that never continues: it claims to be longer than it is. */
export function fragment(text: string, random: Prng): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([
    Buffer.from([0x81, 0x80 + 120, 0, 0, 0, 0]),
    bytes.subarray(0, random.between(1, bytes.length)),
  ]);
}

/** A complete masked text frame that claims its content is deflated (RFC 7692), though nobody negotiated that. */
export function deflatedFrame(bytes: Uint8Array): Buffer {
  const head = frameHead(bytes.length);
  head[0] = 0xc1;
  return Buffer.concat([head, bytes]);
}
