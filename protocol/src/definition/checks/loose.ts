// A definition that may be wrong anywhere, reduced to what can be checked. All checks run together, so none may rely on
// what another one refuses.
import type { ErrorDetail } from '../../api/errors.ts';
import { visibleJson } from '../../api/text.ts';
import { limits } from '../../limits.ts';

export type LooseStep = { name?: unknown; id?: unknown; type?: unknown; config?: unknown } & Record<
  string,
  unknown
>;

export interface LooseDefinition extends Record<string, unknown> {
  steps: LooseStep[];
}

/**
 * Keeps the parts that are objects; the schema reports the others. Of lists that are too long, which the schema reports
 * too, only the beginning is kept, because each step is compared with all those before it.
 */
export function looseDefinition(value: unknown): LooseDefinition {
  // A text would be taken apart into its characters, of which there may be a million.
  const definition = isObject(value) ? value : {};
  const { steps, parameters, rules, locks } = definition;
  return {
    ...definition,
    ...(isObject(parameters) ? { parameters: firstOf(parameters, limits.maxParametersPerJob) } : {}),
    ...(Array.isArray(rules) ? { rules: rules.slice(0, limits.maxParameterRules) } : {}),
    ...(Array.isArray(locks) ? { locks: locks.slice(0, limits.maxLocksPerJob) } : {}),
    steps: Array.isArray(steps)
      ? steps.slice(0, limits.maxStepsPerJob).map((step): LooseStep => (isObject(step) ? step : {}))
      : [],
  };
}

/** Returns the same object if it isn't too large, because checks fill in defaults in place. */
function firstOf(value: Record<string, unknown>, max: number): Record<string, unknown> {
  const entries = Object.entries(value);
  return entries.length <= max ? value : Object.fromEntries(entries.slice(0, max));
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value that was found, as text for a detail. */
function found(value: unknown): string {
  if (typeof value === 'string') return visibleJson(value.slice(0, 100));
  // Not as text: a property `toString` of the object would have to be a function.
  if (typeof value === 'object' && value !== null) return Array.isArray(value) ? 'an array' : 'an object';
  return String(value);
}

/** Builds a detail without undefined fields. */
export function detail(path: string, message: string, value?: unknown, allowed?: string): ErrorDetail {
  return {
    path,
    message,
    ...(value === undefined ? {} : { found: found(value) }),
    ...(allowed === undefined ? {} : { allowed }),
  };
}
