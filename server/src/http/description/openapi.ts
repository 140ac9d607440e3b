// Generates OpenAPI 3.1 from a table of routes. Its schemas are JSON Schema 2020-12, as ours are, except for tuples.
import { ChunkEventSchema, limits, RunChangeSchema, TransferEventSchema } from '@opsconductor/protocol';
import type { TSchema } from 'typebox';
import { requestKeyHeader } from '../../runs/start/start-once.ts';
import type { Json } from '../json-schema.ts';
import type { RouteSpec } from '../route.ts';
import { parametersOf } from '../route-table.ts';
import { describedAnswers } from './described-answers.ts';
import { type CataloguedError, errorCatalogue } from './error-catalogue.ts';
import { NamedSchemas } from './named-schemas.ts';

export interface ApiDescription {
  openapi: '3.1.1';
  info: { title: string; version: string; description: string };
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Json>; securitySchemes: Record<string, Json> };
  tags: { name: string }[];
  /** Every error code, with its cause and what to do. */
  'x-error-codes': readonly CataloguedError[];
}
export interface Operation {
  operationId: string;
  summary: string;
  description: string;
  tags: string[];
  security: Json[];
  parameters?: Json[];
  requestBody?: Json;
  responses: Record<string, Json>;
}

const reasons: Record<string, string> = {
  '204': 'Done',
  '206': 'The part that `Range` asks for; `Content-Range` says which part, and how much there is in all',
  '416': '`Range` begins beyond the end; `Content-Range` says how much there is',
  '400': 'Something in the request is invalid; `details` names each place',
  '401': 'Not signed in, or the token is not valid',
  '403': 'Signed in, but without the permission that this needs',
  '404': 'It does not exist, or the caller may not see it',
  '409': 'It conflicts with the current state',
  '410': 'It was removed because it was past its retention',
  '413': 'The body is too large',
  '415': 'The body is of another content type, or compressed',
  '421': 'The host name in the request is not one of this server',
  '429': 'Too many attempts; Retry-After says when to try again',
  '500': 'Internal error; look it up in the log by the request id',
  '503':
    'Temporary: the database does not answer, or the server is overloaded (then without a body) or stopping; Retry-After says when to try again',
};

export function describeApi(routes: readonly RouteSpec[]): ApiDescription {
  const schemas = new NamedSchemas();
  const paths: ApiDescription['paths'] = {};
  for (const route of routes) {
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}');
    const operations = paths[path] ?? {};
    operations[route.method.toLowerCase()] = describeOperation(route, schemas);
    paths[path] = operations;
  }
  // OpenAPI 3.1 can't say what is in a stream: its events are described, and named in docs/api.md.
  for (const event of [RunChangeSchema, ChunkEventSchema, TransferEventSchema]) schemas.refer(event);
  return {
    openapi: '3.1.1',
    info: {
      title: 'OpsConductor',
      version: '1',
      description:
        'Times are RFC 3339 in UTC. Lists come in pages: pass `nextCursor` as `cursor`. Unknown properties are refused.',
    },
    paths,
    components: {
      schemas: schemas.components(),
      securitySchemes: {
        apiToken: {
          type: 'http',
          scheme: 'bearer',
          description: 'An API token: `Authorization: Bearer oct_…`',
        },
        session: {
          type: 'apiKey',
          in: 'cookie',
          name: 'opsc_session',
          description: 'Set by signing in; the name ends with the first 12 digits of the installation’s id',
        },
      },
    },
    tags: [...new Set(routes.map((route) => route.tag))].map((name) => ({ name })),
    'x-error-codes': errorCatalogue,
  };
}

const requestKeyParameter: Json = {
  name: requestKeyHeader,
  in: 'header',
  required: false,
  description:
    'A text that you choose for this one request, 16 to 255 visible ASCII characters, such as a UUID. If the answer is lost and the request is sent again with the same key, it makes no second run: the answer is the run that the first request made, with `Idempotent-Replayed: true`. The same key with a different request is answered 409. A key is remembered as long as its run.',
  schema: { type: 'string', minLength: 16, maxLength: 257 },
};

const rangeParameter: Json = {
  name: 'Range',
  in: 'header',
  required: false,
  description:
    'One range of bytes, such as `bytes=0-1023`: answered 206 with that part. Anything else is ignored.',
  schema: { type: 'string' },
};

const ifMatchParameter: Json = {
  name: 'If-Match',
  in: 'header',
  required: false,
  description:
    'The version that the change was made from, in quotes: `"3"`. It replaces `expectedVersion` in the body; one of the two is required. If another version is current by now, the answer is 409.',
  schema: { type: 'string', pattern: '^(W/)?"[1-9][0-9]{0,8}"$' },
};

function describeOperation(route: RouteSpec, schemas: NamedSchemas): Operation {
  const permission =
    route.permission === 'public' ? 'Needs no sign-in.' : `Needs the permission \`${route.permission}\`.`;
  const parameters = [
    ...partParameters(route.params, 'path', schemas),
    ...partParameters(route.query, 'query', schemas),
    ...(route.takesRequestKey === true ? [requestKeyParameter] : []),
    ...(route.takesIfMatch === true ? [ifMatchParameter] : []),
    ...(route.success.others?.some(({ status }) => status === 206) === true ? [rangeParameter] : []),
  ];
  return {
    operationId: operationIdOf(route),
    summary: route.summary,
    description: route.description === undefined ? permission : `${route.description}\n\n${permission}`,
    tags: [route.tag],
    security: route.permission === 'public' ? [] : [{ apiToken: [] }, { session: [] }],
    ...(parameters.length === 0 ? {} : { parameters }),
    ...requestBodyOf(route, schemas),
    responses: describeResponses(route, schemas),
  };
}

function requestBodyOf(route: RouteSpec, schemas: NamedSchemas): { requestBody?: Json } {
  if (route.takesBytes === true) {
    const description = `At most ${route.maxBodyBytes ?? limits.maxRequestBodyBytes} bytes`;
    return { requestBody: { required: true, description, content: { 'application/octet-stream': {} } } };
  }
  return route.body === undefined ? {} : { requestBody: describeBody(route.body, route, schemas) };
}

function describeBody(
  schema: TSchema,
  { maxBodyBytes, takesYaml, takesFile, example }: RouteSpec,
  schemas: NamedSchemas,
): Json {
  const content = contentOf(schemas.refer(schema), example);
  return {
    required: true,
    description: `At most ${maxBodyBytes ?? limits.maxRequestBodyBytes} bytes`,
    content: {
      'application/json': content,
      ...(takesYaml === true || takesFile === true ? { 'application/yaml': content } : {}),
    },
  };
}

function contentOf(schema: Json, example: unknown): Json {
  return { schema, ...(example === undefined ? {} : { example: example as Json }) };
}

function describeResponses(route: RouteSpec, schemas: NamedSchemas): Record<string, Json> {
  const { status: usual, contentType, example } = route.success;
  return Object.fromEntries(
    [...describedAnswers(route)].map(([status, bodies]) => {
      const content = [...bodies].map(([type, schema]) => {
        const isUsual = status === usual && type === (contentType ?? 'application/json');
        if (schema === undefined) return [type, isText(type) ? { schema: { type: 'string' } } : {}];
        return [type, contentOf(schemas.refer(schema), isUsual ? example : undefined)];
      });
      const description = status === usual && status !== 204 ? route.summary : reasons[status];
      return [
        String(status),
        {
          description: description ?? 'An error',
          ...(content.length === 0 ? {} : { content: Object.fromEntries(content) }),
        },
      ];
    }),
  );
}

/** Without a schema, clients that are generated know nothing of an answer that may also be JSON. */
function isText(type: string): boolean {
  return !['application/json', 'application/octet-stream'].includes(type);
}

function partParameters(part: TSchema | undefined, where: 'path' | 'query', schemas: NamedSchemas): Json[] {
  const { properties = {}, required = [] } = (part ?? {}) as {
    properties?: Record<string, TSchema>;
    required?: string[];
  };
  return Object.entries(properties).map(([name, property]) => {
    const { description, ...schema } = schemas.refer(property) as Record<string, Json>;
    return {
      name,
      in: where,
      required: where === 'path' || required.includes(name),
      ...(description === undefined ? {} : { description }),
      schema,
    };
  });
}

/** `GET /api/v1/runs/:id/steps` becomes `getRunsIdSteps`. */
function operationIdOf(route: RouteSpec): string {
  const words = route.path
    .replace('/api/v1/', '')
    .split(/[/:.-]+/)
    .filter((word) => word !== '');
  const parameters = parametersOf(route.path);
  return (
    route.method.toLowerCase() +
    words
      .map((word) => {
        const by = parameters.includes(word) ? 'By' : '';
        return by + word.charAt(0).toUpperCase() + word.slice(1);
      })
      .join('')
  );
}
