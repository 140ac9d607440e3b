// The command `opsconductor`: what the owner of segments does on their own machine, with keys that no server has.
import { SealingError } from '@opsconductor/protocol/sealing';
import { Command, CommanderError } from 'commander';
import { AgentError } from './agent-error.ts';
import { watchOutput } from './command-line/lost-output.ts';
import { typedCommand } from './command-line/typed-command.ts';
import { visible, visibleText } from './command-line/visible.ts';
import { readConfig } from './config.ts';
import { addCredentialCommands } from './owner/credentials/credential-commands.ts';
import { addGrantCommands } from './owner/grants/grant-commands.ts';
import { addKeyCommands } from './owner/keys/key-commands.ts';
import { addRecoveryCommands } from './owner/recovery/recovery-commands.ts';
import { addSegmentCommands } from './owner/segments/segment-commands.ts';
import { agentVersion } from './version.ts';

const config = readConfig();
watchOutput();
const say = (line: string) => process.stdout.write(`${visible(line)}\n`);

const program = new Command(typedCommand())
  .description('For owners of segments: keys that no server has, and what is signed and sealed with them.')
  .version(agentVersion)
  .showHelpAfterError('(--help shows the usage)')
  // It would end the process before a help that can't be written is known not to be.
  .exitOverride()
  // Wrong arguments are repeated in errors, and may be names that a server told.
  .configureOutput({ outputError: (text, write) => write(`${visibleText(text.trimEnd())}\n`) });
addKeyCommands(program, say);
addSegmentCommands(program, config, say);
addCredentialCommands(program, config, say);
addRecoveryCommands(program, config, say);
addGrantCommands(program, say);

await program.parseAsync().catch((error: unknown) => {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode;
    return;
  }
  const { message, fix } = asTold(error);
  process.stderr.write(`error: ${visibleText(`${message}\n${fix}`)}\n`);
  process.exitCode = 1;
});

/**
 * Malformed keys and seals come from the server or something in between; malformed files are reported where they are
 * read.
 */
function asTold(error: unknown): { message: string; fix: string } {
  if (error instanceof AgentError) return error;
  if (!(error instanceof SealingError)) throw error;
  const fix = 'Stop until you know why: ask whoever runs the server.';
  return { message: `What the server says is malformed: ${error.message}.`, fix };
}
