// The server as a process that a test may kill: the product's own start, with shorter timings if a test asks for them.
// Prints `listening at <url>` when it is ready; everything else is its log.
import { join, resolve } from 'node:path';
import { readConfig, readEnvironment } from '../../server/src/config.ts';
import { createLog } from '../../server/src/log.ts';
import { endOnUnhandledRejection } from '../../server/src/process/unhandled-rejection.ts';
import { startServer } from '../../server/src/server.ts';

const root = resolve(import.meta.dirname, '../..');
const environment = readEnvironment();
const config = readConfig(process.argv.slice(2), environment);
const log = createLog({ level: config.logLevel, plain: false });
endOnUnhandledRejection(log);
const server = await startServer(
  config,
  {
    migrations: join(root, 'migrations'),
    console: join(root, 'ui/dist'),
    agentBundle: join(root, '.cache/build/agent.mjs'),
  },
  { log, say: (message) => log.info(message) },
  { handshakeSettings: JSON.parse(environment.OPSCONDUCTOR_TEST_TIMINGS ?? ''), checksAtFirstUse: true },
);
process.stdout.write(`listening at ${server.localUrl}\n`);
process.once('SIGTERM', () => void server.stop().then(() => process.exit(0)));
await server.databaseLost;
process.stdout.write('the database is lost\n');
process.exit(1);
