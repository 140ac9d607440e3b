// Reads a secret where the owner of this machine keeps it: in a file, an environment variable or a program's output.
// Errors contain nothing of what was read, nor where it was, since they are sent to the server.
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import type { SourceRule } from '../policy/policy-schema.ts';

/** As long as the longest key that can be sealed. */
const maxSourceBytes = 32_768;
const defaultCommandTimeoutS = 10;
/** The variables that a program gets from the agent's own environment: others may be secrets. */
const passedEnvironment = ['PATH', 'HOME', 'USER', 'LOGNAME', 'LANG', 'TZ', 'TMPDIR'];

/** What is wrong, as the middle of a sentence, and what fixes it, as a sentence. */
export class SourceProblem extends Error {
  override readonly name = 'SourceProblem';
  readonly advice: string;

  constructor(what: string, advice: string) {
    super(what);
    this.advice = advice;
  }
}

/** @throws {SourceProblem} */
export async function readSource(source: SourceRule, environment: NodeJS.ProcessEnv): Promise<string> {
  const bytes = await readBytes(source, environment);
  if (bytes.length > maxSourceBytes) {
    throw new SourceProblem(`holds more than ${maxSourceBytes} bytes`, 'Make it hold only the secret.');
  }
  const text = textOf(bytes);
  if (text.trim() !== '') return text;
  throw source.command === undefined
    ? new SourceProblem('is empty', 'Put the secret there.')
    : new SourceProblem(
        'is a program that wrote nothing',
        'Make it print the secret on its standard output; try it by hand as the agent’s user.',
      );
}

async function readBytes(source: SourceRule, environment: NodeJS.ProcessEnv): Promise<Buffer> {
  if (source.file !== undefined) return readFile(source.file);
  if (source.environment !== undefined) {
    const value = environment[source.environment];
    if (value !== undefined) return Buffer.from(value);
    throw new SourceProblem(
      'is an environment variable that is not set',
      'Set it where the agent is started, and restart the agent.',
    );
  }
  return runCommand(source, environment);
}

async function readFile(path: string): Promise<Buffer> {
  try {
    // Otherwise a pipe that nobody writes to would block the step forever.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      if (!(await file.stat()).isFile())
        throw new SourceProblem('is not a regular file', 'Name a file in the policy file.');
      const buffer = Buffer.alloc(maxSourceBytes + 1);
      let length = 0;
      while (length < buffer.length) {
        const { bytesRead } = await file.read(buffer, length, buffer.length - length);
        if (bytesRead === 0) break;
        length += bytesRead;
      }
      return buffer.subarray(0, length);
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof SourceProblem) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      throw new SourceProblem(
        'is a file that is not there',
        'Put the secret there, or correct its path in the policy file.',
      );
    }
    throw new SourceProblem(
      `is a file that can not be read (${code})`,
      'Allow the user that the agent runs as to read it.',
    );
  }
}

/** Its output is missing if no file descriptor was left for it. */
type StartedProgram = Omit<ChildProcess, 'stdout'> & { stdout: Readable | null | undefined };

function runCommand(source: SourceRule, environment: NodeJS.ProcessEnv): Promise<Buffer> {
  const { command = [], pass_environment = [], timeout_s = defaultCommandTimeoutS } = source;
  const [program = '', ...args] = command;
  const env = Object.fromEntries(
    [...passedEnvironment, ...pass_environment].flatMap((name) => {
      const value = environment[name];
      return value === undefined ? [] : [[name, value]];
    }),
  );
  return new Promise((resolve, reject) => {
    // A process group of its own, so that what it started ends with it. Its error output is ignored, since it may quote
    // the secret.
    const child = started(program, args, env);
    const chunks: Buffer[] = [];
    let bytes = 0;
    const endGroup = () => {
      if (child.pid === undefined) return;
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has already ended by itself.
      }
    };
    const settle = (end: () => void) => {
      clearTimeout(timer);
      endGroup();
      child.stdout?.destroy();
      end();
    };
    const timer = setTimeout(() => {
      const what = `is a program that did not end within ${timeout_s} s`;
      const advice = 'Try it by hand as the agent’s user, or give it more time: timeout_s of the source.';
      settle(() => reject(new SourceProblem(what, advice)));
    }, timeout_s * 1_000);
    child.on('error', (error: NodeJS.ErrnoException) => {
      settle(() => reject(notStarted(error)));
    });
    child.stdout?.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > maxSourceBytes) settle(() => resolve(Buffer.concat(chunks)));
    });
    // Emitted when it has ended and nothing holds its output open any more.
    child.on('close', (code, signal) => {
      if (code === 0) return settle(() => resolve(Buffer.concat(chunks)));
      const what = `is a program that ended with ${code === null ? signal : `exit status ${code}`}`;
      settle(() => reject(new SourceProblem(what, 'Try it by hand as the agent’s user: it says why.')));
    });
  });
}

/**
 * Node throws some causes, and reports others by an event.
 *
 * @throws {SourceProblem}
 */
function started(program: string, args: readonly string[], env: NodeJS.ProcessEnv): StartedProgram {
  try {
    return spawn(program, args, { env, cwd: '/', detached: true, stdio: ['ignore', 'pipe', 'ignore'] });
  } catch (error) {
    throw notStarted(error as NodeJS.ErrnoException);
  }
}

function notStarted({ code }: NodeJS.ErrnoException): SourceProblem {
  const isShort = code === 'EMFILE' || code === 'ENFILE';
  return new SourceProblem(
    `is a program that can not be started (${code})`,
    isShort
      ? 'The agent or its machine has no file descriptors left: allow it more, or give it fewer slots.'
      : 'Correct its path, and allow the agent’s user to run it.',
  );
}

function textOf(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new SourceProblem('holds bytes that are not UTF-8 text', 'Make it hold the secret as text.');
  }
}
