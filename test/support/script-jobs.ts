// Jobs of shell commands that run in the home that the target of a test has.
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { RunDetail } from '@opsconductor/protocol';
import type { TestSystem } from './system.ts';

interface ScriptStep {
  command: string;
  config?: object;
  /** Other fields of the step, as in a definition. */
  [more: string]: unknown;
}

export class ScriptJobs {
  readonly home: string;
  readonly #t: TestSystem;

  constructor(t: TestSystem) {
    this.#t = t;
    this.home = join(t.sshd.dir, 'home');
  }

  /** Makes a job with these steps and parameters; resolves with its id. */
  async make(steps: readonly ScriptStep[], parameters: object = {}): Promise<number> {
    const { id } = await this.#t.api.made<{ id: number }>('/api/v1/jobs', {
      name: `job ${randomUUID()}`,
      parameters,
      steps: steps.map(({ command, config, ...more }, at) => ({
        name: `step ${at + 1}`,
        type: 'ssh.exec',
        // If the target's user is the one who runs the suite, their own home must not receive files of tests.
        config: { working_directory: this.home, ...config, command },
        ...more,
      })),
    });
    return id;
  }

  /** Starts a job on the target with these values; resolves with the run's id. */
  async start(jobId: number, parameters: object = {}): Promise<number> {
    const { api, targetId } = this.#t;
    const run = await api.made<RunDetail>(`/api/v1/jobs/${jobId}/run`, { targetIds: [targetId], parameters });
    return run.id;
  }

  /** Makes a job, starts it with the values `given`, and waits until the run has ended. */
  async run(steps: readonly ScriptStep[], declared: object = {}, given: object = {}) {
    const id = await this.start(await this.make(steps, declared), given);
    return { id, ...(await this.#t.api.runEnds(id)) };
  }
}
