// Jobs of which only the names and commands of their steps matter, for tests.
import type { Job } from '@opsconductor/protocol';
import type { ApiClient } from './api-client.ts';

export interface ShortStep {
  name: string;
  command: string;
  timeout?: number;
}

export function stepsOf(steps: readonly ShortStep[]) {
  return steps.map(({ name, ...config }) => ({ name, type: 'ssh.exec', config }));
}

export function jobOf(
  api: ApiClient,
  name: string,
  steps: readonly ShortStep[],
  more: Record<string, unknown> = {},
): Promise<Job> {
  return api.made<Job>('/api/v1/jobs', { name, ...more, steps: stepsOf(steps) });
}
