// The `audit` command (npm run audit -- verify). It needs no running server.
import { exitCodes, runAuditCommand } from '../audit/verify/verify-command.ts';
import { readEnvironment } from '../config.ts';
import { writeToPipe } from './say-to-pipe.ts';

const url = readEnvironment().DATABASE_URL;
process.exitCode = await runAuditCommand(process.argv.slice(2), {
  databaseUrl: url === undefined || url.trim() === '' ? undefined : url,
  write: writeToPipe(exitCodes.notVerified),
});
