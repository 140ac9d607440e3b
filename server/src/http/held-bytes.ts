// Bytes that this server keeps in memory, as an answer: by pieces, as they are taken. Given whole, each answer has a copy of
// them, and clients that ask and take nothing would fill the memory with those.

const pieceBytes = 64 * 1024;

export function answerHeldBytes(
  bytes: Uint8Array<ArrayBuffer>,
  headers: Readonly<Record<string, string>>,
): Response {
  if (bytes.length <= pieceBytes) return new Response(bytes, { headers });
  let at = 0;
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
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
