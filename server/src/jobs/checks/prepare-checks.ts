// Prepares the checks of definitions at start-up, so that the first check does not have to wait: its validators take a
// few hundred milliseconds to compile.
import { setImmediate } from 'node:timers/promises';
import { exampleJobs, JobDefinitionSchema, stepConfigSchemas } from '@opsconductor/protocol';
import { prepareSchema } from '../../validation/schema-problems.ts';
import { examineDefinition } from '../definition/validate-definition.ts';

/** Prepares the checks in pieces, so that other work gets its turn in between. */
export async function prepareDefinitionChecks(): Promise<void> {
  for (const _ of pieces()) await setImmediate();
}

function* pieces(): Generator<void> {
  for (const schema of [JobDefinitionSchema, ...Object.values(stepConfigSchemas)])
    yield* prepareSchema(schema);
  // Checking examples loads the code for patterns, conditions and placeholders, which is parsed on first use.
  for (const job of exampleJobs) {
    examineDefinition(job);
    yield;
  }
}
