// The values for rendering a step of a run.
import { Type } from 'typebox';
import { Id, Timestamp } from '../api/schema-parts.ts';

/** What placeholders and conditions of a step refer to. Contains no secrets, which are sent separately and sealed. */
export const StepValuesSchema = Type.Object({
  /** Given values or defaults; parameters without a value are missing. */
  parameters: Type.Record(Type.String(), Type.Unknown()),
  target: Type.Object({
    name: Type.String(),
    host: Type.String(),
    port: Type.Integer(),
    os: Type.String(),
    segment: Type.String(),
    labels: Type.Record(Type.String(), Type.String()),
  }),
  run: Type.Object({ id: Id, created_at: Timestamp, created_by: Type.String() }),
  job: Type.Object({ id: Id, name: Type.String(), version: Type.Integer() }),
  /** Outputs of earlier steps that have handed on any, by step id. */
  steps: Type.Record(Type.String(), Type.Object({ outputs: Type.Record(Type.String(), Type.String()) })),
});
