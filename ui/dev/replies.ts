// How the stand-in reads requests and answers them.
import type { IncomingMessage, ServerResponse } from 'node:http';

export const contentSecurityPolicy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

export function json(response: ServerResponse, status: number, body: unknown) {
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-security-policy': contentSecurityPolicy,
  });
  response.end(JSON.stringify(body));
}

export function fail(
  response: ServerResponse,
  status: number,
  code: string,
  message: string,
  details?: unknown,
) {
  json(response, status, {
    error: { code, message, requestId: 'req_7f3c91ae', ...(details === undefined ? {} : { details }) },
  });
}

export async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  return (await contentOf(request)).body;
}

/** Reads the body's size and, if it is JSON, what it says. */
export async function contentOf(
  request: IncomingMessage,
): Promise<{ body: Record<string, unknown>; size: number }> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece);
  const content = Buffer.concat(pieces);
  const isJson = request.headers['content-type'] === 'application/json' && content.length > 0;
  return { body: isJson ? JSON.parse(content.toString()) : {}, size: content.length };
}
