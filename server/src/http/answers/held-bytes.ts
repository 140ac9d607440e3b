// Bytes that this server keeps in memory, as an answer: by pieces, as they are taken. Given whole, each answer has a copy of
// them, and clients that ask and take nothing would fill the memory with those.

const pieceBytes = 64 * 1024;
/** Of all answers together: where connections take piece after piece, nothing else would have a turn until they take no more. */
const piecesInATurn = 8;

export function answerHeldBytes(
  bytes: Uint8Array<ArrayBuffer>,
  headers: Readonly<Record<string, string>>,
): Response {
  if (bytes.length <= pieceBytes) return new Response(bytes, { headers });
  let at = 0;
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (at > 0) await turns.take();
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

/** A few in each turn of the event loop, first come first served. */
class PieceTurns {
  #waiting: (() => void)[] = [];

  take(): Promise<void> {
    if (this.#waiting.length === 0) setImmediate(() => this.#serve());
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #serve(): void {
    for (const go of this.#waiting.splice(0, piecesInATurn)) go();
    if (this.#waiting.length > 0) setImmediate(() => this.#serve());
  }
}

const turns = new PieceTurns();
