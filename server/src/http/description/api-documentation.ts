// The API's description, generated from the table of routes on first use: for machines, and as a page for people.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isCurrent } from '../answers/entity-tag.ts';
import { answerHeldBytes } from '../answers/held-bytes.ts';
import type { RouteSpec } from '../route.ts';
import type { Answer } from '../routes/probes.ts';
import { renderDocsPage } from './docs-page/render-docs-page.ts';
import { describeApi } from './openapi.ts';

export function apiDocumentation(routes: readonly RouteSpec[]): [path: string, answer: Answer][] {
  const style = join(import.meta.dirname, 'docs-page/docs-page.css');
  const answers: [path: string, contentType: string, write: () => string][] = [
    ['/api/v1/openapi.json', 'application/json', () => JSON.stringify(describeApi(routes))],
    ['/api/docs', 'text/html', () => renderDocsPage(describeApi(routes))],
    ['/api/docs.css', 'text/css', () => readFileSync(style, 'utf8')],
  ];
  return answers.map(([path, contentType, write]) => {
    let answer: Answer | undefined;
    return [
      path,
      (request) => {
        answer ??= fixed(write(), `${contentType}; charset=utf-8`);
        return answer(request);
      },
    ];
  });
}

function fixed(text: string, contentType: string): Answer {
  // Bytes take half as much memory as the text, and outside of the garbage-collected heap.
  const body = Buffer.from(text);
  const headers = {
    'Content-Type': contentType,
    'Cache-Control': 'no-cache',
    ETag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`,
  };
  return (request) =>
    isCurrent(request, headers.ETag)
      ? new Response(null, { status: 304, headers })
      : answerHeldBytes(body, headers);
}
