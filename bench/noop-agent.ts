// The real agent (connection, journal, leases, credentials) with a step type that does nothing: what is measured is
// everything but the target.
import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { startAgent } from '../agent/src/agent.ts';

const { values } = parseArgs({ options: { data: { type: 'string' }, slots: { type: 'string' } } });
const agent = await startAgent({
  dataDir: values.data ?? '',
  slots: Number(values.slots ?? 256),
  log: pino({ level: 'warn' }, pino.destination(2)),
  stepTypes: new Map([
    [
      'ssh.exec',
      {
        configProblem: () => undefined,
        async execute(_config, context) {
          await context.beforeStart();
          return { status: 'succeeded', exitCode: 0, executionTimeMs: 0 };
        },
      },
    ],
  ]),
});
process.on('SIGTERM', () => void agent.stop().then(() => process.exit(0)));
await agent.ended;
