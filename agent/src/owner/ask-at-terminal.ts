// A question at the terminal. Whoever ends it (Ctrl-C, Ctrl-D) is told so: what they were asked for was not done.
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { AgentError } from '../agent-error.ts';

export interface Terminal {
  input: NodeJS.ReadableStream;
  output: NodeJS.WritableStream;
}

const ownTerminal = (): Terminal => ({ input: process.stdin, output: process.stderr });

/**
 * @param isHidden whether the answer is shown while it is typed.
 * @throws {AgentError} where no answer was given.
 */
export async function askAtTerminal(
  question: string,
  isHidden: boolean,
  { input, output }: Terminal = ownTerminal(),
): Promise<string> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  if (isHidden) output.write(question);
  const terminal = createInterface({
    input,
    output: isHidden ? nowhere : output,
    terminal: true,
    historySize: 0,
  });
  try {
    return await new Promise((resolve, reject) => {
      terminal.once('close', () => reject(stopped()));
      terminal.question(isHidden ? '' : question, resolve);
    });
  } finally {
    terminal.close();
    if (isHidden) output.write('\n');
  }
}

function stopped(): AgentError {
  return new AgentError('Stopped: no answer was given, and nothing was done.', 'Run the command again.');
}
