// JSON values as JSON Schema compares and points at them, for all of our checks.
import { canonicalJson } from './canonical-json.ts';

/** Returns whether two JSON values are equal; the order of properties does not count. */
export function isEqualJson(a: unknown, b: unknown): boolean {
  return a === b || (typeof a === 'object' && typeof b === 'object' && canonicalJson(a) === canonicalJson(b));
}

/** Like ajv, names the later of the two first; but needs only one pass, where ajv compares every pair. */
export function firstRepeated(items: readonly unknown[]): { i: number; j: number } | undefined {
  const seen = new Map<string, number>();
  for (const [at, item] of items.entries()) {
    const key = canonicalJson(item);
    const before = seen.get(key);
    if (before !== undefined) return { i: at, j: before };
    seen.set(key, at);
  }
  return undefined;
}

/** Escapes a name for a JSON pointer (RFC 6901, section 3). */
export function pointerPart(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1');
}
