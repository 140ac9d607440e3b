// The passphrase of a key file: from a file, standard input or a terminal that doesn't show it. Never from the command
// line, which every user of the machine can read.
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { AgentError } from '../../agent-error.ts';
import { readSource } from '../../start-run/read-given.ts';

/**
 * @param source a file, `-` for standard input, undefined to ask at the terminal.
 * @param repeat whether it is asked for twice, as a new one is.
 * @throws {AgentError}
 */
export async function readPassphrase(source: string | undefined, repeat = false): Promise<string> {
  if (source !== undefined) return (await readSource(source, '--passphrase-file')).replace(/\r?\n$/, '');
  if (!process.stdin.isTTY) {
    throw new AgentError(
      'There is no terminal to ask for the passphrase.',
      'Give it by --passphrase-file <path>, or --passphrase-file - for standard input.',
    );
  }
  const passphrase = await ask('Passphrase: ');
  if (repeat && (await ask('Once more: ')) !== passphrase) {
    throw new AgentError('The two passphrases differ.', 'Run the command again.');
  }
  return passphrase;
}

async function ask(question: string): Promise<string> {
  process.stderr.write(question);
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: nowhere, terminal: true });
  try {
    return await terminal.question('');
  } finally {
    terminal.close();
    process.stderr.write('\n');
  }
}
