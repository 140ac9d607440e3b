// An agent in a process of its own, to be killed. Its one step type writes what its configuration says and then waits.
import { argv } from 'node:process';
import { pino } from 'pino';
import { Type } from 'typebox';
import { startAgent } from '../agent.ts';
import { knownStepType } from '../execution/step/known-step-types.ts';
import { PatternSet } from '../masking/pattern-set.ts';
import type { StepContext } from '../steps/step-type.ts';

const [, , dataDir = ''] = argv;

async function execute(config: { lines: number }, context: StepContext): Promise<never> {
  await context.beforeStart();
  for (let line = 0; line < config.lines; line++) {
    // Alternating streams end each chunk, so that there are many chunks.
    context.output.write(line % 2 === 0 ? 'stdout' : 'stderr', Buffer.from(`line ${line}\n`));
  }
  return new Promise(() => undefined);
}

await startAgent({
  dataDir,
  log: pino({ level: 'silent' }),
  stepTypes: new Map([
    ['test.step', knownStepType({ type: 'test.step', execute }, Type.Object({ lines: Type.Integer() }))],
  ]),
  openCredential: async ({ target: { jumps: _, ...target } }) => ({
    target,
    credential: { kind: 'ssh_password', id: '1', version: 1, user: 'root', password: 'none' },
    secrets: new PatternSet([]),
    checkAddresses: () => undefined,
  }),
});
