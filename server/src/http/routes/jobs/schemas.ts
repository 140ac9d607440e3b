// Serves the schemas of definitions, for editors and other programs: `# yaml-language-server:
// $schema=…/api/v1/schemas/job`.
import { Closed, jobJsonSchema, stepJsonSchema, stepTypes } from '@opsconductor/protocol';
import { Type } from 'typebox';
import { notFound } from '../../../errors.ts';
import { type RouteSpec, route } from '../../route.ts';

const tag = 'schemas';
const JsonSchemaReply = Type.Object({}, { description: 'JSON Schema 2020-12', additionalProperties: true });

export function schemaRoutes(): RouteSpec[] {
  const job = jobJsonSchema();
  return [
    route({
      method: 'GET',
      path: '/api/v1/schemas/job',
      permission: 'public',
      summary: 'Get the JSON Schema of job definitions',
      description:
        'For an editor, such as one with a YAML language server: titles, descriptions, defaults and examples of every field. The server checks more than a schema can express; `POST /api/v1/jobs/validate` reports everything.',
      tag,
      success: { status: 200, schema: JsonSchemaReply, contentType: 'application/json' },
      handle: () => job,
    }),
    route({
      method: 'GET',
      path: '/api/v1/schemas/steps/:type',
      permission: 'public',
      summary: 'Get the JSON Schema of the configuration of a step type',
      tag,
      params: Closed({
        type: Type.String({ maxLength: 50, description: `One of ${stepTypes.join(', ')}` }),
      }),
      success: { status: 200, schema: JsonSchemaReply, contentType: 'application/json' },
      handle: ({ params }) => {
        const schema = stepJsonSchema(params.type);
        if (schema === undefined) throw notFound('Step type');
        return schema;
      },
    }),
  ];
}
