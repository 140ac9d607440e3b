// The `restored` command (npm run restored): run once after restoring a backup, before any server is started on it.
import { join, resolve } from 'node:path';
import { ConfigError, HelpRequested } from '../config/config-problems.ts';
import { readConfig, readEnvironment } from '../config.ts';
import { startExistingPostgres } from '../database/existing-database.ts';
import { refuseMoved } from '../database/move/moved-mark.ts';
import { restoredUsage, runRestoredCommand } from '../restore/restored-command.ts';
import { connect } from '../store/database/connection.ts';
import { databaseRefusal } from '../store/database/database-refusal.ts';
import { sayToPipe } from './say-to-pipe.ts';

const say = sayToPipe();
try {
  const config = readConfig(process.argv.slice(2), readEnvironment());
  const postgres = join(config.dataDir, 'postgres');
  if (config.databaseUrl === undefined) await refuseMoved(postgres);
  const embedded =
    config.databaseUrl === undefined
      ? await startExistingPostgres({ dataDir: postgres, log: say })
      : undefined;
  const sql = connect(config.databaseUrl ?? embedded?.url ?? '', { max: 2 });
  try {
    process.exitCode = await runRestoredCommand({
      sql,
      migrations: resolve(import.meta.dirname, '../../../migrations'),
      say,
    }).catch((error: unknown) => {
      throw databaseRefusal(error, config.databaseUrl);
    });
  } finally {
    await sql.end({ timeout: 2 });
    await embedded?.stop();
  }
} catch (error) {
  if (error instanceof HelpRequested) say(restoredUsage);
  else {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = error instanceof ConfigError ? 2 : 1;
  }
}
