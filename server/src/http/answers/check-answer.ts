// Compares an answer with what the description of the API says about its route; for tests.
import type { TSchema } from 'typebox';
import { schemaProblems } from '../../validation/schema-problems.ts';
import { type DescribedBodies, describedAnswers } from '../description/described-answers.ts';
import { type Json, jsonSchemaOf } from '../json-schema.ts';
import type { RouteSpec } from '../route.ts';

const answersByRoute = new WeakMap<RouteSpec, ReadonlyMap<number, DescribedBodies>>();
const closedSchemas = new WeakMap<TSchema, TSchema>();

/**
 * @throws Error if the status, the content type or the body is not as described. That is our own mistake, so it is no
 * `AppError`, which would blame the caller.
 */
export async function checkAnswer(route: RouteSpec, response: Response): Promise<void> {
  const problem = await problemOf(route, response);
  if (problem === undefined) return;
  const { method, path } = route;
  throw new Error(
    `The answer ${response.status} of ${method} ${path} differs from its description: ${problem}`,
  );
}

async function problemOf(route: RouteSpec, response: Response): Promise<string | undefined> {
  const answers = answersByRoute.get(route) ?? describedAnswers(route);
  answersByRoute.set(route, answers);
  const bodies = answers.get(response.status);
  if (bodies === undefined) return `its status is none of ${[...answers.keys()].join(', ')}`;
  const type = response.headers.get('content-type')?.split(';')[0];
  if (bodies.size === 0) return response.body === null ? undefined : 'it has a body';
  if (type === undefined || !bodies.has(type)) return `${type} is none of ${[...bodies.keys()].join(', ')}`;
  const schema = bodies.get(type);
  if (schema === undefined) return undefined;
  const closed = closedSchemas.get(schema) ?? (closedSchemaOf(jsonSchemaOf(schema)) as TSchema);
  closedSchemas.set(schema, closed);
  const problems = schemaProblems(closed, await response.clone().json());
  return problems.length === 0 ? undefined : JSON.stringify(problems);
}

/**
 * Schemas of answers are open, so that older programs read the answers of newer servers. What this server answers itself
 * they name in full; whatever is meant to hold more says so with `additionalProperties: true`.
 */
function closedSchemaOf(value: Json): Json {
  if (Array.isArray(value)) return value.map(closedSchemaOf);
  if (typeof value !== 'object' || value === null) return value;
  const inner = Object.fromEntries(
    Object.entries(value).map(([name, one]) => [name, closedSchemaOf(one ?? null)]),
  );
  const isOpen = value.type === 'object' && value.properties !== undefined;
  return isOpen && value.additionalProperties === undefined
    ? { ...inner, additionalProperties: false }
    : inner;
}
