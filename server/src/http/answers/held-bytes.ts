// Answers with bytes that this server keeps in memory, piece by piece, as the client reads them. If they were passed on
// whole, each answer would hold its own copy, and clients that ask but never read would fill the memory.

const pieceBytes = 64 * 1024;
/** Across all answers. Without this limit, connections that keep reading would starve the rest of the event loop. */
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

/** Hands out a few pieces in each turn of the event loop, first come, first served. */
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
