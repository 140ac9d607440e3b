// The server's command: reads its settings, starts the server, tells a person where to go, and stops cleanly.
import { join, resolve } from 'node:path';
import { createAdministratorCode } from './auth/sign-in/sign-in-codes.ts';
import { writeToPipe } from './commands/say-to-pipe.ts';
import { ConfigError, HelpRequested } from './config/config-problems.ts';
import { isForThisMachine } from './config/read-tls.ts';
import { type Config, readConfig, readEnvironment } from './config.ts';
import { HeldLines } from './held-lines.ts';
import { createLog, outliveOutput } from './log.ts';
import { endEverythingAtOnce } from './process/ends-at-once.ts';
import { endOnUnhandledRejection } from './process/unhandled-rejection.ts';
import { noteWanted, startQuickstart } from './quickstart/quickstart.ts';
import { type RunningServer, startServer } from './server.ts';
import { isPlainByDefault } from './store/database/driver/database-tls.ts';

const repositoryRoot = resolve(import.meta.dirname, '../..');
const paths = {
  migrations: join(repositoryRoot, 'migrations'),
  console: join(repositoryRoot, 'ui/dist'),
  agentBundle: join(repositoryRoot, '.cache/build/agent.mjs'),
};

function say(message: string): void {
  process.stdout.write(`${message}\n`);
}

async function main(): Promise<number> {
  const config = readConfig(process.argv.slice(2), readEnvironment());
  outliveOutput(process.stdout, process.stderr);
  const lines = new HeldLines(process.stdout);
  const log = createLog({
    level: config.logLevel,
    plain: process.stdout.isTTY === true,
    destination: lines,
  });
  endOnUnhandledRejection(log);
  for (const text of config.unknownVariables) log.warn(text);
  if (config.databaseUrl !== undefined && isPlainByDefault(config.databaseUrl)) {
    log.warn(
      'the connection to PostgreSQL is not encrypted; add ?sslmode=verify-full to DATABASE_URL, or ?sslmode=disable if that is intended',
    );
  }
  const stopping = stopRequested();
  await noteWanted(config);
  const server = await startServer(config, paths, { log, say }).catch((error: unknown) => {
    if (!stopping.isRequested) throw error;
    // Ctrl-C in a terminal also reaches our child processes: initdb ends, and so the start fails.
    log.debug({ err: error }, 'the start was interrupted');
    return undefined;
  });
  if (server === undefined) {
    say('Stopped during the start; the next start continues.');
    return 0;
  }
  const stopQuickstart = { run: async () => {} };
  try {
    say(`OpsConductor is at ${server.url}`);
    if (server.caPin !== undefined) say(`Certificate authority pin: ${server.caPin}`);
    // The next start makes the demo, if it is wanted.
    if (stopping.isRequested) return 0;
    if (config.demo) {
      // People read the demo's run here, line by line. The log of that goes below it.
      lines.hold();
      const quickstart = await startQuickstart({ config, server, agentBundle: paths.agentBundle, log, say });
      stopQuickstart.run = () => quickstart.stop();
      await Promise.race([quickstart.shown, stopping.requested]);
    }
    if (stopping.isRequested) return 0;
    await saySignIn(config, server);
    lines.release();
    const ended = await Promise.race([
      stopping.requested,
      server.databaseLost.then(() => 'database' as const),
    ]);
    if (ended === 'database') say('The embedded database is gone and could not be started again: stopping.');
    return ended === 'database' ? 1 : 0;
  } finally {
    lines.release();
    await stopQuickstart.run();
    await server.stop();
    say('Stopped. All data is kept.');
  }
}

/**
 * Prints a sign-in link. If the server is for this machine only, at every start, because there whoever reads this
 * terminal is the administrator; otherwise only at the first start, because its output ends up in logs that more people
 * read.
 */
async function saySignIn(config: Config, server: RunningServer): Promise<void> {
  if (!server.isNew && !isForThisMachine(config)) return;
  const made = await createAdministratorCode({ sql: server.sql, now: () => new Date() });
  if (made === undefined) return;
  say('');
  say(`Sign in as ${made.name}, once, within 30 minutes:`);
  say(`  ${server.url}/#code=${made.code}`);
  say('Ctrl-C stops everything.');
}

/**
 * Settles at the first SIGINT or SIGTERM, even while the server is still starting. A signal more than a second later
 * ends everything at once.
 */
function stopRequested(): { isRequested: boolean; requested: Promise<'signal'> } {
  let first: number | undefined;
  const stopping = {
    isRequested: false,
    requested: new Promise<'signal'>((done) => {
      const onSignal = () => {
        const now = Date.now();
        if (first === undefined) say('Stopping…');
        first ??= now;
        stopping.isRequested = true;
        done('signal');
        // npm passes the terminal's signal on, so one Ctrl-C arrives twice.
        if (now - first > 1_000) {
          say('Stopped at once. The next start recovers.');
          endEverythingAtOnce();
          process.exit(130);
        }
      };
      process.on('SIGINT', onSignal);
      process.on('SIGTERM', onSignal);
    }),
  };
  return stopping;
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    if (error instanceof HelpRequested) {
      // Without an explicit exit, which would come before a text that can't be written is known not to be.
      writeToPipe()(error.text);
      return;
    }
    const known =
      error instanceof ConfigError ||
      (error instanceof Error && error.name.endsWith('Error') && 'code' in error === false);
    process.stderr.write(
      `OpsConductor can’t start.\n${error instanceof Error ? (known ? error.message : error.stack) : String(error)}\n`,
    );
    process.exit(error instanceof ConfigError ? 2 : 1);
  },
);
