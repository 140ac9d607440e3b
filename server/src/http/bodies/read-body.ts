// Reads a request's body and counts it meanwhile, so that a body that is too large is never held in memory.
import { setImmediate } from 'node:timers/promises';
import { AppError } from '../../errors.ts';
import { findJsonError } from '../../yaml/json-error.ts';
import { jsonShape } from '../../yaml/json-shape.ts';
import type { Places } from '../../yaml/places.ts';
import { readJsonValue } from '../../yaml/read-json-value.ts';
import { readYamlValue } from '../../yaml/read-yaml-value.ts';
import { RefusedRequest } from '../answers/refused-request.ts';
import type { BodyShare } from './body-room.ts';

const maxDepth = 64;
/** Characters. */
const longText = 500_000;

export interface RequestBody {
  /** Undefined if there is no body. */
  value: unknown;
  /** Positions of the values in a YAML body. */
  places?: Places;
}

/**
 * Returns the parsed body: JSON or, if the route takes it, YAML.
 * @throws AppError `too_large`; `rate_limited` if the bodies that are being read are too large together; `invalid` with
 * line and column of a syntax error, for another content type or a compressed body (415), or if the client went away
 * before the end.
 */
export async function readRequestBody(
  request: Request,
  { maxBytes, takesYaml, room }: { maxBytes: number; takesYaml: boolean; room: BodyShare },
): Promise<RequestBody> {
  const bytes = await readAtMost(request, maxBytes, room);
  if (bytes.length === 0) return { value: undefined };
  const contentType = contentTypeOf(request);
  if (json.test(contentType)) return { value: await parseJson(bytes, takesYaml) };
  if (takesYaml && yaml.test(contentType)) return parseYaml(bytes);
  throw wrongType(takesYaml);
}

/**
 * Returns a file of JSON or YAML, unparsed.
 * @throws AppError `too_large`; `invalid` (415 for another content type).
 */
export async function readRequestFile(request: Request, maxBytes: number): Promise<Uint8Array> {
  const contentType = contentTypeOf(request);
  if (!json.test(contentType) && !yaml.test(contentType)) throw wrongType(true);
  return readAtMost(request, maxBytes);
}

/**
 * Returns bytes of any kind, unparsed.
 * @throws AppError `too_large`; `invalid` (415 for another content type).
 */
export async function readRequestBytes(request: Request, maxBytes: number): Promise<Uint8Array> {
  if (contentTypeOf(request).toLowerCase() !== 'application/octet-stream') {
    throw new RefusedRequest(
      415,
      'invalid',
      'The request body must be bytes: send Content-Type: application/octet-stream.',
    );
  }
  return readAtMost(request, maxBytes);
}

function contentTypeOf(request: Request): string {
  return (request.headers.get('content-type') ?? '').trim();
}

function wrongType(takesYaml: boolean): RefusedRequest {
  return new RefusedRequest(
    415,
    'invalid',
    takesYaml
      ? 'The request body must be JSON or YAML: send Content-Type: application/json or application/yaml.'
      : 'The request body must be JSON: send Content-Type: application/json.',
  );
}

const json = /^application\/json\s*(;\s*charset="?utf-8"?\s*)?$/i;
const yaml = /^(application|text)\/(x-)?yaml\s*(;\s*charset="?utf-8"?\s*)?$/i;

function parseYaml(bytes: Uint8Array): RequestBody {
  const read = readYamlValue(decodeText(bytes));
  if (!('problems' in read)) return read;
  const [first] = read.problems;
  const message = `The request body is not YAML that can be read: ${first?.message ?? ''}`;
  throw new AppError('invalid', message, { details: read.problems });
}

async function readAtMost(
  request: Request,
  maxBytes: number,
  room?: Pick<BodyShare, 'freeBytes' | 'take'>,
): Promise<Uint8Array> {
  refuseEncoded(request);
  const tooLarge = () =>
    new AppError('too_large', `The request body is larger than the ${maxBytes} bytes that are allowed here.`);
  const told = request.headers.get('content-length');
  if (Number(told ?? 0) > maxBytes) throw tooLarge();
  // HTTP holds a body to its announced length, and reading it at once is half a millisecond faster than as a stream.
  if (told !== null && (room === undefined || Number(told) <= room.freeBytes))
    return readWhole(request, tooLarge, maxBytes);
  if (request.body === null) return new Uint8Array();
  const parts: Uint8Array[] = [];
  let length = 0;
  try {
    // `preventCancel`: if the loop ends early, the rest stays unread. Canceling the stream would close the request's
    // connection before the answer.
    for await (const part of request.body.values({ preventCancel: true })) {
      length += part.length;
      if (length > maxBytes) throw tooLarge();
      room?.take(part.length);
      parts.push(part);
    }
  } catch (error) {
    throw error instanceof AppError ? error : hungUp(error);
  }
  return parts.length === 1 ? (parts[0] ?? new Uint8Array()) : Buffer.concat(parts);
}

/** A compressed body may expand to any size, and none of our clients send one. */
function refuseEncoded(request: Request): void {
  const encoding = request.headers.get('content-encoding')?.trim().toLowerCase() ?? 'identity';
  if (encoding === 'identity' || encoding === '') return;
  const message = 'The request body is compressed: send it as it is, without Content-Encoding.';
  // By RFC 9110 section 15.5.16 this header says that it is the encoding that was refused.
  throw new RefusedRequest(415, 'invalid', message, { 'Accept-Encoding': 'identity' });
}

async function readWhole(request: Request, tooLarge: () => AppError, maxBytes: number): Promise<Uint8Array> {
  const bytes = await request.arrayBuffer().catch((error: unknown) => Promise.reject(hungUp(error)));
  if (bytes.byteLength > maxBytes) throw tooLarge();
  return new Uint8Array(bytes);
}

/** The client went away (RFC 9112 section 8): nobody reads this answer, and the server is not at fault. */
function hungUp(cause: unknown): AppError {
  return new AppError('invalid', 'The connection ended before the request body was whole.', { cause });
}

async function parseJson(bytes: Uint8Array, takesYaml: boolean): Promise<unknown> {
  const text = decodeText(bytes);
  const value = parseJsonText(text, takesYaml);
  // Parsing the largest body takes half a second, and its check by a schema as long again.
  if (text.length > longText) await setImmediate();
  const shape = await jsonShape(text, maxDepth);
  if (text.length > longText) await setImmediate();
  if (shape === 'sound') return value;
  if (shape === 'too_deep') {
    const message = `The request body is nested deeper than ${maxDepth} levels.`;
    const allowed = `at most ${maxDepth} levels of objects and lists`;
    throw new AppError('invalid', message, { details: [{ path: '', message, allowed }] });
  }
  const read = readJsonValue(text);
  const details = 'problems' in read ? read.problems : [];
  throw new AppError('invalid', `The request body is ambiguous: ${details[0]?.message ?? ''}`, { details });
}

function parseJsonText(text: string, takesYaml: boolean): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The engine's message quotes the body, which may contain secrets; ours gives only the position.
    const { line, column, expected } = findJsonError(text);
    const isOther = line === 1 && column === 1;
    const hint =
      takesYaml && isOther ? ' If it is YAML, send Content-Type: application/yaml, and no other.' : '';
    const message = `The request body is not JSON: line ${line}, column ${column}: ${expected}.${hint}`;
    throw new AppError('invalid', message, { details: [{ path: '', message, allowed: 'JSON (RFC 8259)' }] });
  }
}

function decodeText(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    const message = 'The request body is not UTF-8.';
    throw new AppError('invalid', message, { details: [{ path: '', message, allowed: 'UTF-8 (RFC 3629)' }] });
  }
}
