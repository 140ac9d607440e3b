// An agent in this process, with a server that does what the test says and a step type that the test drives.
import type { Lease, LeaseRendering, StepOutcome } from '@opsconductor/protocol';
import { pino } from 'pino';
import { Type } from 'typebox';
import { type AgentOptions, type RunningAgent, startAgent } from '../agent.ts';
import type { Clock } from '../execution/lease-deadline.ts';
import type { UsableCredential } from '../execution/secrets/credential-opener.ts';
import { type KnownStepTypes, knownStepType } from '../execution/step/known-step-types.ts';
import { PatternSet } from '../masking/pattern-set.ts';
import type { StepContext } from '../steps/step-type.ts';
import { type EnrolledDirectory, enrolledDirectory } from './enrolled-directory.ts';
import { FakeServer } from './fake-server.ts';
import { Mailbox } from './mailbox.ts';

/** A step that waits inside its step type for the test. */
export interface ControlledStep {
  context: StepContext;
  config: { name?: string };
  end(outcome: StepOutcome): void;
  /** Throws out of the step type, as when `beforeStart` refused. */
  fail(error: unknown): void;
}

/** Time that only a test moves. */
export class ManualClock implements Clock {
  wall = 1_800_000_000_000;
  monotonic = 1_000;

  wallMs(): number {
    return this.wall;
  }

  monotonicMs(): number {
    return this.monotonic;
  }
}

export const success: StepOutcome = { status: 'succeeded', exitCode: 0 };

export interface AgentSetup {
  server: FakeServer;
  directory: EnrolledDirectory;
  /**
   * Starts an agent on the directory; a second one is the same agent after a restart.
   *
   * @param options with `hasOwnSteps` the agent runs its own step types instead of those that the test drives.
   */
  start(options?: Partial<AgentOptions> & { hasOwnSteps?: boolean }): Promise<RunningAgent>;
  /** The next step that reached the step type. */
  nextStep(): Promise<ControlledStep>;
  /** The waits between connections, as requested; each resolves at once. */
  waits: number[];
  [Symbol.asyncDispose](): Promise<void>;
}

export async function setup(): Promise<AgentSetup> {
  const server = await FakeServer.start();
  const directory = await enrolledDirectory(server);
  const steps = new Mailbox<ControlledStep>();
  const agents: RunningAgent[] = [];
  const waits: number[] = [];
  return {
    server,
    directory,
    waits,
    nextStep: () => steps.take(() => true),
    async start({ hasOwnSteps = false, ...options } = {}) {
      const agent = await startAgent({
        dataDir: directory.data.root,
        log: pino({ level: 'silent' }),
        ...(hasOwnSteps ? {} : { stepTypes: controlledStepTypes(steps) }),
        openCredential: async ({ target: { jumps: _, ...target } }) => ({ ...noCredential, target }),
        wait: async (ms) => {
          waits.push(ms);
          // Yields, so that an agent that is refused again and again does not starve the test.
          await new Promise(setImmediate);
        },
        ...options,
      });
      agents.push(agent);
      return agent;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(agents.map((agent) => agent.stop()));
      await server.stop();
      await directory.remove();
    },
  };
}

export function lease(step: number, more: Partial<Lease> = {}): Lease {
  return {
    step,
    epoch: 1,
    leaseToken: `token-of-step-${step}-epoch-1`,
    runId: 1,
    stepType: 'test.step',
    config: {},
    target: { id: 1, name: 'web-1', host: 'web-1.example', port: 22, hostKeys: [] },
    credential: {
      id: 'b2f0a1de-0000-4000-8000-000000000000',
      version: 1,
      kind: 'ssh_password',
      sealed: { v: 1, generation: 1, enc: '', wrappedKey: '', nonce: '', ciphertext: '' },
    },
    ...more,
  };
}

/** What a step of the lease is rendered with. */
export function rendering(more: Partial<LeaseRendering> = {}): LeaseRendering {
  return {
    values: {
      parameters: {},
      target: { name: 'web-1', host: 'web-1.example', port: 22, os: 'linux', segment: 'dmz', labels: {} },
      run: { id: 1, created_at: '2026-01-01T00:00:00Z', created_by: 'ann' },
      job: { id: 1, name: 'job', version: 1 },
      steps: {},
    },
    secrets: [],
    scope: { path: 'steps[0]', parameters: {}, steps: {} },
    ...more,
  };
}

const noCredential: Omit<UsableCredential, 'target'> = {
  credential: { kind: 'ssh_password', id: '1', version: 1, user: 'root', password: 'not a secret' },
  secrets: new PatternSet([]),
  checkAddresses: () => undefined,
};

function controlledStepTypes(steps: Mailbox<ControlledStep>): KnownStepTypes {
  const schema = Type.Object({
    name: Type.Optional(Type.String()),
    timeout: Type.Optional(Type.Integer({ minimum: 1 })),
  });
  const execute = (config: { name?: string }, context: StepContext) =>
    new Promise<StepOutcome>((resolve, reject) => {
      steps.put({ context, config, end: resolve, fail: reject });
    });
  return new Map([['test.step', knownStepType({ type: 'test.step', execute }, schema)]]);
}
