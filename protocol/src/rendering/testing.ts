// A scope with a parameter of each type, and values for it, for tests.
import type { Parameter } from '../api/jobs/parameters.ts';
import type { RenderScope } from './placeholders/scope.ts';
import type { RenderValues } from './placeholders/values.ts';

/** @param text Further properties of the parameter `text`. */
export function scopeFor(text: Partial<Parameter> = {}): RenderScope {
  return {
    path: 'steps[0]',
    parameters: {
      text: { type: 'string', ...text },
      other: { type: 'string' },
      secret: { type: 'string', secret: true },
      count: { type: 'integer' },
      ratio: { type: 'number' },
      flag: { type: 'boolean' },
      list: { type: 'array', items: { type: 'string' }, minItems: 1 },
      thing: { type: 'object', properties: { name: { type: 'string' } } },
      choice: { type: 'string', enum: ['start', 'stop'] },
    },
    steps: { build: { outputs: { version: {} } } },
    notYet: ['deploy'],
  };
}

export function valuesFor(parameters: Record<string, unknown>): RenderValues {
  return {
    parameters,
    target: {
      name: 'web-1',
      host: '10.0.0.1',
      port: 22,
      os: 'linux',
      segment: 'dmz',
      labels: { env: 'prod' },
    },
    run: { id: 7, created_at: '2026-11-25T00:00:00Z', created_by: 'ann' },
    job: { id: 3, name: 'Job', version: 2 },
    steps: { build: { outputs: { version: '1.2' } } },
  };
}
