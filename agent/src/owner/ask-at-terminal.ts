// Asks a question at the terminal. Anyone who ends it (Ctrl-C, Ctrl-D) is told that nothing was done.
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { AgentError } from '../agent-error.ts';

export interface Terminal {
  input: NodeJS.ReadableStream;
  output: NodeJS.WritableStream;
}

const ownTerminal = (): Terminal => ({ input: process.stdin, output: process.stderr });

/**
 * @param isHidden whether the answer is hidden while it is typed.
 * @throws {AgentError} if no answer was given.
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
  let isAnswered = false;
  try {
    const answer = await new Promise<string>((resolve, reject) => {
      terminal.once('close', () => reject(stopped()));
      terminal.question(isHidden ? '' : question, resolve);
    });
    isAnswered = true;
    return answer;
  } finally {
    terminal.close();
    // If the answer is visible, the person has typed the line end already.
    if (isHidden || !isAnswered) output.write('\n');
  }
}

function stopped(): AgentError {
  return new AgentError('Stopped: no answer was given, and nothing was done.', 'Run the command again.');
}
