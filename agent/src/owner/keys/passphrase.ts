// Reads the passphrase of a key file from a file, standard input or a terminal that doesn't show it. Never from the
// command line, which every user of the machine can read.
import { AgentError } from '../../agent-error.ts';
import { readSource } from '../../start-run/read-given.ts';
import { askAtTerminal } from '../ask-at-terminal.ts';

/**
 * @param source a file, `-` for standard input, or undefined to ask at the terminal.
 * @param repeat whether to ask twice, as for a new passphrase.
 * @throws {AgentError}
 */
export async function readPassphrase(source: string | undefined, repeat = false): Promise<string> {
  if (source !== undefined) return (await readSource(source, '--passphrase-file')).replace(/\r?\n$/, '');
  if (!process.stdin.isTTY) {
    throw new AgentError(
      'There is no terminal to ask for the passphrase.',
      'Give it with --passphrase-file <path>, or --passphrase-file - for standard input.',
    );
  }
  const passphrase = await askAtTerminal('Passphrase: ', true);
  if (repeat && (await askAtTerminal('Once more: ', true)) !== passphrase) {
    throw new AgentError('The two passphrases differ.', 'Run the command again.');
  }
  return passphrase;
}
