// The `audit` command (npm run audit -- verify). It needs no running server.
import { runAuditCommand } from '../audit/verify/verify-command.ts';
import { readEnvironment } from '../config.ts';

const url = readEnvironment().DATABASE_URL;
process.exitCode = await runAuditCommand(process.argv.slice(2), {
  databaseUrl: url === undefined || url.trim() === '' ? undefined : url,
  write: (text) => process.stdout.write(text),
});
