// What the API says about an end, the same of an attempt and of the step whose last attempt it was.
import { Type } from 'typebox';
import { DetectionSchema } from '../../detections.ts';
import { Nullable } from '../schema-parts.ts';

/** How the command ended, and what it took. */
export const endFields = {
  /** How long the command ran. Lines of output count from `startedAt`, when the shell has not yet taken the command. */
  executionTimeMs: Nullable(Type.Integer()),
  /** For a command that survives its agent, if the target can tell: processor time, and peak memory use. */
  cpuMs: Type.Optional(Nullable(Type.Integer())),
  peakMemoryBytes: Type.Optional(Nullable(Type.Integer())),
  exitCode: Nullable(Type.Integer()),
  signal: Nullable(Type.String()),
  reason: Nullable(Type.String()),
};

export const SurvivorSchema = Type.Object({ pid: Type.Integer(), command: Type.String() });

/** What the command left: processes on the target, and secrets in its output. */
export const leftFields = {
  survivors: Type.Array(SurvivorSchema),
  /** Secrets that nobody named and that were masked in its output because of their form. */
  detections: Type.Optional(Type.Array(DetectionSchema)),
};
