// A request's JSON body, counted while it is read, so that a too large one is never held in memory.
import { AppError } from '../errors.ts';
import { findJsonError } from './json-error.ts';
import { RefusedRequest } from './refused-request.ts';

const maxDepth = 64;

/**
 * The parsed body; undefined where there is none.
 *
 * @throws AppError `too_large`; `invalid` (415 for another content type) with line and column of a syntax error, or
 * when the client went away before the end.
 */
export async function readJsonBody(request: Request, maxBytes: number): Promise<unknown> {
  const bytes = await readAtMost(request, maxBytes);
  if (bytes.length === 0) return undefined;
  const contentType = request.headers.get('content-type') ?? '';
  if (!/^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i.test(contentType.trim())) {
    throw new RefusedRequest(
      415,
      'invalid',
      'The request body must be JSON: send Content-Type: application/json.',
    );
  }
  return parseJson(bytes);
}

async function readAtMost(request: Request, maxBytes: number): Promise<Uint8Array> {
  const tooLarge = () =>
    new AppError('too_large', `The request body is larger than the ${maxBytes} bytes that are allowed here.`);
  const told = request.headers.get('content-length');
  if (Number(told ?? 0) > maxBytes) throw tooLarge();
  // HTTP holds a body to the length that it tells, and without a stream it is there half a millisecond sooner.
  if (told !== null) return readWhole(request, tooLarge, maxBytes);
  if (request.body === null) return new Uint8Array();
  const parts: Uint8Array[] = [];
  let length = 0;
  try {
    // Leaving the loop early cancels the stream: the rest is not read.
    for await (const part of request.body as ReadableStream<Uint8Array> & AsyncIterable<Uint8Array>) {
      length += part.length;
      if (length > maxBytes) throw tooLarge();
      parts.push(part);
    }
  } catch (error) {
    throw error instanceof AppError ? error : hungUp(error);
  }
  return parts.length === 1 ? (parts[0] ?? new Uint8Array()) : Buffer.concat(parts);
}

async function readWhole(request: Request, tooLarge: () => AppError, maxBytes: number): Promise<Uint8Array> {
  const bytes = await request.arrayBuffer().catch((error: unknown) => Promise.reject(hungUp(error)));
  if (bytes.byteLength > maxBytes) throw tooLarge();
  return new Uint8Array(bytes);
}

/** The client went away (RFC 9112 section 8): nobody reads this answer, and nothing here has failed. */
function hungUp(cause: unknown): AppError {
  return new AppError('invalid', 'The connection ended before the request body was whole.', { cause });
}

function parseJson(bytes: Uint8Array): unknown {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new AppError('invalid', 'The request body is not UTF-8.');
  }
  try {
    const value: unknown = JSON.parse(text);
    if (!isNestedDeeper(text, maxDepth)) return value;
  } catch {
    // The engine's message quotes the body, which may hold secrets; ours tells the place.
    const { line, column, expected } = findJsonError(text);
    const message = `The request body is not JSON: line ${line}, column ${column}: ${expected}.`;
    throw new AppError('invalid', message, { details: [{ path: '', message, allowed: 'JSON (RFC 8259)' }] });
  }
  throw new AppError('invalid', `The request body is nested deeper than ${maxDepth} levels.`);
}

function isNestedDeeper(text: string, max: number): boolean {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === '"') i = endOfString(text, i);
    else if (character === '[' || character === '{') {
      depth++;
      if (depth > max) return true;
    } else if (character === ']' || character === '}') depth--;
  }
  return false;
}

function endOfString(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === '"') return i;
  }
  return text.length;
}
