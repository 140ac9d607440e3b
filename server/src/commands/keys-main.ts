// The `keys` command (npm run keys): changes the master key, whether or not servers are running on the database.
import { join } from 'node:path';
import { ConfigError, HelpRequested } from '../config/config-problems.ts';
import { readConfig, readEnvironment } from '../config.ts';
import { AtRestError } from '../credentials/at-rest/at-rest-error.ts';
import { startExistingPostgres } from '../database/existing-database.ts';
import { refuseMoved } from '../database/move/moved-mark.ts';
import { runningPostgresUrl } from '../database/running-postgres.ts';
import { KeysError, keysUsage, requireVerb, runKeysCommand } from '../master-keys/keys-command.ts';
import { connect } from '../store/database/connection.ts';
import { databaseRefusal } from '../store/database/database-refusal.ts';
import { sayToPipe } from './say-to-pipe.ts';

const say = sayToPipe();
const all = process.argv.slice(2);
const flagsAt = all.findIndex((each) => each.startsWith('-'));
const args = flagsAt === -1 ? all : all.slice(0, flagsAt);
try {
  if (all.includes('--help') || all.includes('-h')) throw new HelpRequested(keysUsage);
  requireVerb(args);
  const config = readConfig(all.slice(args.length), readEnvironment());
  const postgres = join(config.dataDir, 'postgres');
  // A key that the old database no longer needs may be the one under which the new one has everything.
  if (config.databaseUrl === undefined) await refuseMoved(postgres);
  const running = config.databaseUrl ?? (await runningPostgresUrl(postgres));
  const embedded =
    running === undefined ? await startExistingPostgres({ dataDir: postgres, log: say }) : undefined;
  const sql = connect(running ?? embedded?.url ?? '', { max: 2 });
  try {
    await runKeysCommand(args, { sql, file: config.masterKeyFile, say }).catch((error: unknown) => {
      throw error instanceof KeysError || error instanceof AtRestError
        ? error
        : databaseRefusal(error, config.databaseUrl);
    });
  } finally {
    await sql.end({ timeout: 2 });
    await embedded?.stop();
  }
} catch (error) {
  if (error instanceof HelpRequested) say(keysUsage);
  else {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = error instanceof ConfigError ? 2 : 1;
  }
}
