// Answers with bytes that may be hostile: supports ranges, and never lets a browser display or run the content.
import type { OtherAnswer } from '../route.ts';
import { parseByteRange } from './byte-range.ts';

export interface Bytes {
  length: number;
  headers: Record<string, string>;
  /** Reads from `start` (inclusive) to `end` (exclusive), as fast as the reader takes the pieces. */
  read(range: { start: number; end: number }): AsyncGenerator<Uint8Array>;
}

/** What `answerBytes` may answer besides 200, for the description of a route that returns these content types. */
export function partAnswers(...contentTypes: string[]): OtherAnswer[] {
  return [...contentTypes.map((contentType) => ({ status: 206 as const, contentType })), { status: 416 }];
}

/** Answers with everything, or with the one range that a Range header asks for (RFC 9110 section 14). */
export function answerBytes(rangeHeader: string | undefined, { length, headers, read }: Bytes): Response {
  const range = parseByteRange(rangeHeader, length);
  const all = { 'Accept-Ranges': 'bytes', ...headers };
  if (range.kind === 'unsatisfiable')
    return new Response(null, { status: 416, headers: { ...all, 'Content-Range': `bytes */${length}` } });
  const { start, end } = range.kind === 'part' ? range : { start: 0, end: length };
  return new Response(streamOf(read({ start, end })), {
    status: range.kind === 'part' ? 206 : 200,
    headers: {
      ...all,
      'Content-Length': String(end - start),
      ...(range.kind === 'part' ? { 'Content-Range': `bytes ${start}-${end - 1}/${length}` } : {}),
    },
  });
}

/** Returns headers that make a browser save the answer, whatever its content, under the last segment of this name. */
export function attachmentHeaders(name: string): Record<string, string> {
  const last = name.split('/').at(-1) ?? '';
  // Clients that do not support RFC 8187 get what is left of the name in ASCII.
  const plain = last.replaceAll(/[^\w.-]/g, '_') || 'file';
  const encoded = encodeURIComponent(last.toWellFormed()).replaceAll(
    /['()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return {
    'Content-Type': 'application/octet-stream',
    'Content-Disposition': `attachment; filename="${plain}"; filename*=UTF-8''${encoded}`,
  };
}

function streamOf(pieces: AsyncGenerator<Uint8Array>): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { value, done } = await pieces.next();
        if (done === true) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        await pieces.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
}
