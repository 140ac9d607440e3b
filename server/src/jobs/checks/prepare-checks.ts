// Whoever checks the first definition should not wait for what all of them are checked with: its validators take a few
// hundred milliseconds to compile.
import { setImmediate } from 'node:timers/promises';
import { exampleJobs, JobDefinitionSchema, stepConfigSchemas } from '@opsconductor/protocol';
import { prepareSchema } from '../../schema-problems.ts';
import { examineDefinition } from '../validate-definition.ts';

/** Makes what definitions are checked with, in pieces between which others come to their turn. */
export async function prepareDefinitionChecks(): Promise<void> {
  for (const _ of pieces()) await setImmediate();
}

function* pieces(): Generator<void> {
  for (const schema of [JobDefinitionSchema, ...Object.values(stepConfigSchemas)])
    yield* prepareSchema(schema);
  // Patterns, conditions and placeholders: their code is read at its first use.
  for (const job of exampleJobs) {
    examineDefinition(job);
    yield;
  }
}
