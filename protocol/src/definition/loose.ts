// A definition that may be wrong anywhere, as far as it can be looked at: checks run all together, so none of them may
// count on what another one refuses.
import type { ErrorDetail } from '../api/common.ts';
import { visibleJson } from '../api/text.ts';

export type LooseStep = { name?: unknown; id?: unknown; type?: unknown; config?: unknown } & Record<
  string,
  unknown
>;

export interface LooseDefinition extends Record<string, unknown> {
  steps: LooseStep[];
}

/** The parts that are objects; the schema tells of the rest. */
export function looseDefinition(value: unknown): LooseDefinition {
  const definition = Object(value) as Record<string, unknown>;
  const { steps } = definition;
  return { ...definition, steps: Array.isArray(steps) ? steps.map((step) => Object(step) as LooseStep) : [] };
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What was found, for a detail. */
export function found(value: unknown): string {
  return typeof value === 'string' ? visibleJson(value.slice(0, 100)) : String(value);
}

/** A detail without what is undefined. */
export function detail(path: string, message: string, value?: unknown, allowed?: string): ErrorDetail {
  return {
    path,
    message,
    ...(value === undefined ? {} : { found: found(value) }),
    ...(allowed === undefined ? {} : { allowed }),
  };
}
