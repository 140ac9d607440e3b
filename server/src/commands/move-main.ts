// The `move` command (npm run move): moves the embedded database to a PostgreSQL of the operator's own.
import { join, resolve } from 'node:path';
import { ConfigError, HelpRequested } from '../config/config-problems.ts';
import { readConfig, readEnvironment } from '../config.ts';
import { startExistingPostgres } from '../database/existing-database.ts';
import { moveUsage, runMoveCommand } from '../database/move/move-command.ts';
import { markMoved, refuseMoved } from '../database/move/moved-mark.ts';
import { connect } from '../store/database/connection.ts';
import { databaseRefusal } from '../store/database/database-refusal.ts';
import { sayToPipe } from './say-to-pipe.ts';

const say = sayToPipe();
try {
  const config = readConfig(process.argv.slice(2), readEnvironment());
  const { databaseUrl } = config;
  if (databaseUrl === undefined)
    throw new ConfigError(['DATABASE_URL is not set: it names the database to move to.']);
  const dataDir = join(config.dataDir, 'postgres');
  await refuseMoved(dataDir);
  const embedded = await startExistingPostgres({ dataDir, log: say });
  const from = connect(embedded.url, { max: 2 });
  const to = connect(databaseUrl, { max: 2 });
  const { hostname, port, pathname } = new URL(databaseUrl);
  const where = `${hostname}:${port === '' ? 5432 : port}${pathname}`;
  try {
    process.exitCode = await runMoveCommand({
      from,
      to,
      where,
      migrations: resolve(import.meta.dirname, '../../../migrations'),
      say,
      markMoved: () => markMoved(dataDir, where),
    }).catch((error: unknown) => {
      throw databaseRefusal(error, databaseUrl);
    });
  } finally {
    await from.end({ timeout: 2 });
    await to.end({ timeout: 2 });
    await embedded.stop();
  }
} catch (error) {
  if (error instanceof HelpRequested) say(moveUsage);
  else {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = error instanceof ConfigError ? 2 : 1;
  }
}
