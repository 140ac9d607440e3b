// The real agent (connection, journal, leases, credentials) with a step type that does nothing, to measure everything
// except the target. On SIGUSR2 it writes when each step began to the file named by BENCH_STARTS.
import { renameSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { startAgent } from '../agent/src/agent.ts';
import { letHeapGrow } from '../agent/src/memory/heap-growth.ts';
import { monotonicMs } from './start-times.ts';

const maxStarts = 20_000;
const startsFile = process.env['BENCH_STARTS'];
let starts: [number, number][] = [];

letHeapGrow();
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
          if (startsFile !== undefined && starts.length < maxStarts)
            starts.push([Number(context.marker.split('.')[1]), monotonicMs()]);
          return { status: 'succeeded', exitCode: 0, executionTimeMs: 0 };
        },
      },
    ],
  ]),
});
process.on('SIGUSR2', () => {
  if (startsFile === undefined) return;
  writeFileSync(`${startsFile}.new`, JSON.stringify(starts));
  renameSync(`${startsFile}.new`, startsFile);
  starts = [];
});
process.on('SIGTERM', () => void agent.stop().then(() => process.exit(0)));
await agent.ended;
