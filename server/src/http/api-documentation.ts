// The API's description, made once from the table of routes: for machines, and as a page for people.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { renderDocsPage } from './docs-page/render-docs-page.ts';
import { isCurrent } from './entity-tag.ts';
import { describeApi } from './openapi.ts';
import type { RouteSpec } from './route.ts';
import type { Answer } from './routes/probes.ts';

export function apiDocumentation(routes: readonly RouteSpec[]): [path: string, answer: Answer][] {
  const description = describeApi(routes);
  const style = readFileSync(join(import.meta.dirname, 'docs-page/docs-page.css'), 'utf8');
  return [
    ['/api/v1/openapi.json', fixed(JSON.stringify(description), 'application/json; charset=utf-8')],
    ['/api/docs', fixed(renderDocsPage(description), 'text/html; charset=utf-8')],
    ['/api/docs.css', fixed(style, 'text/css; charset=utf-8')],
  ];
}

function fixed(text: string, contentType: string): Answer {
  // As bytes they take half as much, outside of the heap that is collected.
  const body = Buffer.from(text);
  const headers = {
    'Content-Type': contentType,
    'Cache-Control': 'no-cache',
    ETag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`,
  };
  return (request) =>
    isCurrent(request, headers.ETag)
      ? new Response(null, { status: 304, headers })
      : new Response(body, { headers });
}
