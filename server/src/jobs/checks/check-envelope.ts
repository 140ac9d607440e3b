// Checks what surrounds a definition in a request. `validateDefinition` checks the definition itself, so that its
// problems always read the same: their paths begin at the definition.
import { type Static, type TObject, type TProperties, type TSchema, Type } from 'typebox';
import { AppError } from '../../errors.ts';
import { schemaProblems } from '../../validation/schema-problems.ts';
import { withUnstorableText } from '../../validation/storable-text.ts';

const envelopes = new WeakMap<TSchema, TSchema>();

/** @throws {AppError} `invalid`, with a detail for each place that is wrong. */
export function checkEnvelope<T extends TObject>(schema: T, value: unknown): Static<T> {
  const copy: unknown = structuredClone(value);
  const envelope = envelopeOf(schema);
  const { definition: _, ...beside } = Object(copy) as Record<string, unknown>;
  const problems = withUnstorableText(schemaProblems(envelope, copy, { max: 50 }), beside);
  const [first] = problems;
  if (first !== undefined)
    throw new AppError('invalid', `${first.path}: ${first.message}`, { details: problems });
  return copy as Static<T>;
}

function envelopeOf(schema: TObject): TSchema {
  const known = envelopes.get(schema);
  if (known !== undefined) return known;
  const properties: TProperties = { ...schema.properties };
  if (properties.definition !== undefined) properties.definition = Type.Unknown();
  const envelope = { ...schema, properties } as TSchema;
  envelopes.set(schema, envelope);
  return envelope;
}
