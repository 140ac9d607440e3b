// `opsconductor.mjs grant …`: runs are signed on the signer's own machine.
import { type Command, InvalidArgumentError } from 'commander';
import { AgentError } from '../../agent-error.ts';
import { typedCommand } from '../../command-line/typed-command.ts';
import { askAtTerminal } from '../ask-at-terminal.ts';
import { passphraseOption } from '../keys/key-commands.ts';
import { readPassphrase } from '../keys/passphrase.ts';
import { signRun } from './sign-run.ts';

const maxHours = 24 * 366;

interface SignCommand {
  key: string;
  draft: string;
  out: string;
  hours: number;
  yes: boolean;
  passphraseFile?: string;
}

/** @param say prints a line. */
export function addGrantCommands(program: Command, say: (line: string) => void): void {
  program
    .command('grant')
    .description('grants for runs, for segments whose agents run only what is signed')
    .command('sign')
    .description('show what a run would do, and sign a grant that allows it')
    .requiredOption('--key <file>', `the signer key, made by: ${typedCommand()} key make --purpose signer`)
    .requiredOption(
      '--draft <path>',
      'the draft to sign, from the console or from POST jobs/:id/grant-draft; - for standard input',
    )
    .requiredOption('--out <path>', 'new file for the request that starts the run')
    .option('--hours <number>', 'how long the grant is valid, counted from five minutes ago', parseHours, 8)
    .option('--yes', 'sign without asking: for scripts that check the draft themselves', false)
    .option(...passphraseOption)
    .action(async ({ yes, passphraseFile, ...options }: SignCommand) => {
      if (options.draft === '-' && (passphraseFile === '-' || !yes)) {
        throw new AgentError(
          'The draft comes from standard input, so nothing else can.',
          'Give --passphrase-file and --yes, or give the draft as a file.',
        );
      }
      await signRun({
        ...options,
        passphrase: () => readPassphrase(passphraseFile),
        confirm: async () => yes || (await isConfirmed()),
        say,
      });
    });
}

async function isConfirmed(): Promise<boolean> {
  if (!process.stdin.isTTY) {
    throw new AgentError(
      'There is no terminal to ask for confirmation at.',
      'Check the draft, and give --yes.',
    );
  }
  return (await askAtTerminal('\nSign this? Type yes: ', false)).trim() === 'yes';
}

function parseHours(given: string): number {
  const hours = Number(given);
  if (Number.isInteger(hours) && hours >= 1 && hours <= maxHours) return hours;
  throw new InvalidArgumentError(`Give a whole number from 1 to ${maxHours}.`);
}
