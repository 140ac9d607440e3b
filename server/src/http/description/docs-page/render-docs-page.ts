// The API documentation as one page of plain HTML, without scripts, so that it needs no exception from the security
// headers.
import type { Json } from '../../json-schema.ts';
import { referredName, withoutReferences } from '../named-schemas.ts';
import type { ApiDescription, Operation } from '../openapi.ts';
import { escapeHtml, inlineCode } from './html.ts';
import { renderSchema } from './render-schema.ts';

type Schemas = Record<string, Json>;
type Described = { name?: string; in?: string; required?: boolean; description?: string; schema?: Json };
type Content = { content?: Record<string, { schema?: Json }>; description?: string };

export function renderDocsPage(description: ApiDescription): string {
  const sections = description.tags.map(({ name }) => renderTag(name, description));
  const links = description.tags.map(
    ({ name }) => `<li><a href="#${escapeHtml(name)}">${escapeHtml(name)}</a></li>`,
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>OpsConductor API</title>
<link rel="stylesheet" href="/api/docs.css">
</head>
<body>
<header>
<h1>OpsConductor API</h1>
<p>${inlineCode(description.info.description)}</p>
<p>Authenticate with <code>Authorization: Bearer</code> and an API token. The same for machines:
<a href="/api/v1/openapi.json">openapi.json</a> (OpenAPI ${description.openapi}).</p>
<pre><code>printf 'Authorization: Bearer %s\\n' "$(cat token)" &gt;headers
curl -H @headers http://127.0.0.1:7700/api/v1/me</code></pre>
<nav aria-label="Sections"><ul>${links.join('')}<li><a href="#errors">errors</a></li></ul></nav>
</header>
<main>
${sections.join('\n')}
${renderErrors(description)}
</main>
</body>
</html>
`;
}

function renderErrors(description: ApiDescription): string {
  const rows = description['x-error-codes'].map(
    ({ code, status, when, fix }) =>
      `<tr><th scope="row"><code>${code}</code></th><td>${status}</td><td>${inlineCode(when)}</td><td>${inlineCode(fix)}</td></tr>`,
  );
  return `<section id="errors">
<h2>errors</h2>
<table><thead><tr><th>code</th><th>status</th><th>when</th><th>what to do</th></tr></thead>
<tbody>${rows.join('\n')}</tbody></table>
</section>`;
}

function renderTag(tag: string, description: ApiDescription): string {
  const operations = Object.entries(description.paths).flatMap(([path, methods]) =>
    Object.entries(methods)
      .filter(([, operation]) => operation.tags.includes(tag))
      .map(([method, operation]) => renderOperation(method, path, operation, description.components.schemas)),
  );
  return `<section aria-labelledby="${escapeHtml(tag)}"><h2 id="${escapeHtml(tag)}">${escapeHtml(tag)}</h2>${operations.join('\n')}</section>`;
}

function renderOperation(method: string, path: string, operation: Operation, schemas: Schemas): string {
  const parameters = (operation.parameters ?? []) as Described[];
  const body = operation.requestBody as Content | undefined;
  return `<details id="${escapeHtml(operation.operationId)}">
<summary><span class="method ${method}">${method.toUpperCase()}</span> <code>${escapeHtml(path)}</code> <span>${escapeHtml(operation.summary)}</span></summary>
${operation.description
  .split('\n\n')
  .map((paragraph) => `<p>${inlineCode(paragraph)}</p>`)
  .join('')}
${renderParameters(parameters)}
${body === undefined ? '' : `<h3>Request</h3>${renderContent(body, schemas)}`}
${Object.entries(operation.responses)
  .map(([status, response]) => renderResponse(status, response as Content, schemas))
  .join('\n')}
</details>`;
}

function renderParameters(parameters: readonly Described[]): string {
  if (parameters.length === 0) return '';
  const rows = parameters.map(
    (parameter) =>
      `<tr><th scope="row"><code>${escapeHtml(parameter.name ?? '')}</code></th><td>${parameter.in}${parameter.required ? '' : ', optional'}</td><td>${renderSchema(parameter.schema ?? {})} ${inlineCode(parameter.description ?? '')}</td></tr>`,
  );
  return `<h3>Parameters</h3><table><tbody>${rows.join('')}</tbody></table>`;
}

function renderResponse(status: string, response: Content, schemas: Schemas): string {
  const isError = Number(status) >= 400;
  if (isError) return `<p><strong>${status}</strong> ${inlineCode(response.description ?? '')}</p>`;
  return `<h3>${status}</h3>${renderContent(response, schemas)}`;
}

function renderContent(content: Content, schemas: Schemas): string {
  const parts = Object.entries(content.content ?? {}).map(([type, { schema }]) =>
    schema === undefined ? `<p><code>${escapeHtml(type)}</code></p>` : renderNamed(schema, schemas),
  );
  return parts.length === 0 ? `<p>${inlineCode(content.description ?? '')}</p>` : parts.join('');
}

function renderNamed(schema: Json, schemas: Schemas): string {
  const name = referredName(schema);
  const heading = name === undefined ? '' : `<p><code>${escapeHtml(name)}</code></p>`;
  return heading + renderSchema(withoutReferences(schema, schemas));
}
