// The command `opsconductor`: what the owner of segments does on a machine of their own, with keys that no server has.
import { Command } from 'commander';
import { AgentError } from './agent-error.ts';
import { readConfig } from './config.ts';
import { addCredentialCommands } from './owner/credentials/credential-commands.ts';
import { addGrantCommands } from './owner/grants/grant-commands.ts';
import { addKeyCommands } from './owner/keys/key-commands.ts';
import { addRecoveryCommands } from './owner/recovery/recovery-commands.ts';
import { addSegmentCommands } from './owner/segments/segment-commands.ts';
import { agentVersion } from './version.ts';

const config = readConfig();
const say = (line: string) => process.stdout.write(`${line}\n`);

const program = new Command('opsconductor')
  .description('For owners of segments: keys that no server has, and what is signed and sealed with them.')
  .version(agentVersion)
  .showHelpAfterError();
addKeyCommands(program, say);
addSegmentCommands(program, config, say);
addCredentialCommands(program, config, say);
addRecoveryCommands(program, config, say);
addGrantCommands(program, say);

await program.parseAsync().catch((error: unknown) => {
  if (!(error instanceof AgentError)) throw error;
  process.stderr.write(`error: ${error.message}\n       ${error.fix}\n`);
  process.exitCode = 1;
});
