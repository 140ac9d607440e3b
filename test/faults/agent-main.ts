// The agent as a process under test: the product's own, with a clock that the harness can step.
//   <data directory> <slots> <clock file>
import { startAgent } from '../../agent/src/agent.ts';
import { createLog } from '../../agent/src/log.ts';
import { clockOfFile } from './agent-clock.ts';

const [dataDir = '', slots = '', clockFile = ''] = process.argv.slice(2);
const log = createLog({ plain: false, level: 'info' });
process.on('unhandledRejection', (error) => {
  log.fatal({ err: error }, 'unhandled error (a bug, please report it); the agent ends with exit code 1');
  process.exit(1);
});
const agent = await startAgent({ dataDir, slots: Number(slots), log, clock: clockOfFile(clockFile) });
process.exit((await agent.ended) === 'quarantined' ? 78 : 0);
