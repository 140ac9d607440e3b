// What a step of a run is rendered with.
import { type Static, Type } from 'typebox';
import { Id, Timestamp } from '../api/common.ts';

/** What placeholders and conditions of a step refer to. No secrets: those come sealed beside. */
export const StepValuesSchema = Type.Object({
  /** Given, or their defaults; one without a value is left out. */
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
  /** By step id, of those before it that have handed on anything. */
  steps: Type.Record(Type.String(), Type.Object({ outputs: Type.Record(Type.String(), Type.String()) })),
});
export type StepValues = Static<typeof StepValuesSchema>;
