// The corpus of wrong definitions (protocol/src/definition/corpus), for tests.
import type { ErrorDetail } from '@opsconductor/protocol';

type Json = Record<string, unknown>;

export interface Wrong {
  /** What is wrong, in words. */
  is: string;
  /** Fields that replace those of a valid job, of its first step, and of that step's configuration. */
  given?: Json;
  step?: Json;
  config?: Json;
  /** Paths of what is left out, such as `steps.0.config.command`. */
  absent?: string[];
  /** The definition itself, as a value or as JSON; or the name of one that is too large to be written here. */
  whole?: unknown;
  json?: string;
  make?: string;
  /** The definition as YAML. */
  text?: string;
  told?: ErrorDetail[];
}

const many = <T>(count: number, make: (at: number) => T) =>
  Array.from({ length: count }, (_, at) => make(at));
const named = (count: number, value: unknown) => Object.fromEntries(many(count, (at) => [`n${at}`, value]));
const step = (name: string, more: Json = {}, config: Json = {}) => ({
  name,
  type: 'ssh.exec',
  ...more,
  config: { command: 'uptime', ...config },
});
const nested = (depth: number): Json =>
  depth === 0 ? { type: 'string' } : { type: 'array', items: nested(depth - 1) };

const large: Record<string, () => Json> = {
  'long name': () => ({ name: 'n'.repeat(101) }),
  'long description': () => ({ description: 'd'.repeat(10_001) }),
  'many labels': () => ({ labels: named(65, '') }),
  'many steps': () => ({ steps: many(101, (at) => step(`step ${at}`)) }),
  'long command': () => ({ steps: [step('ask', {}, { command: 'x'.repeat(131_073) })] }),
  'deep condition': () => ({ steps: [step('ask', { when: `${'('.repeat(200)}true${')'.repeat(200)}` })] }),
  'long condition': () => ({ steps: [step('ask', { when: `true${' '.repeat(2_000)}` })] }),
  'long parameter name': () => ({ parameters: { ['p'.repeat(65)]: { type: 'string' } } }),
  'huge enum': () => ({ parameters: { a: { type: 'integer', enum: many(1_001, (at) => at) } } }),
  'deep parameter': () => ({ parameters: { l: nested(5) } }),
  'many parameters': () => ({ parameters: named(101, { type: 'string' }) }),
  'long message': () => ({ rules: [{ check: 'true', message: 'm'.repeat(501) }] }),
};

export function definitionOf(wrong: Wrong): unknown {
  if ('whole' in wrong) return wrong.whole;
  if (wrong.json !== undefined) return JSON.parse(wrong.json);
  const made = wrong.make === undefined ? {} : large[wrong.make]?.();
  const { config, ...ofStep } = wrong.step ?? {};
  const first =
    'config' in (wrong.step ?? {}) ? { ...step('ask', ofStep), config } : step('ask', ofStep, wrong.config);
  const definition = { name: 'job', steps: [first], ...wrong.given, ...made };
  for (const path of wrong.absent ?? []) {
    const keys = path.split('.');
    const last = keys.pop() ?? '';
    delete keys.reduce<Json>((inner, key) => Object(inner[key]) as Json, definition)[last];
  }
  return definition;
}
