// Bytes that this server keeps in memory, as an answer: by pieces, as they are taken. Given whole, each answer has a copy of
// them, and clients that ask and take nothing would fill the memory with those.
import { setImmediate } from 'node:timers/promises';

const pieceBytes = 64 * 1024;

export function answerHeldBytes(
  bytes: Uint8Array<ArrayBuffer>,
  headers: Readonly<Record<string, string>>,
): Response {
  if (bytes.length <= pieceBytes) return new Response(bytes, { headers });
  let at = 0;
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        // Where the connection takes piece after piece, nothing else would have a turn until it takes no more.
        if (at > 0) await setImmediate();
        const end = Math.min(bytes.length, at + pieceBytes);
        controller.enqueue(bytes.subarray(at, end));
        at = end;
        if (at === bytes.length) controller.close();
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { headers: { ...headers, 'Content-Length': String(bytes.length) } });
}
