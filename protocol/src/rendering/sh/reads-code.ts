// Whether a command runs what arrives by its standard input.
import { type Interpreter, interpreterOf } from './interpreters.ts';
import { resolveCommand } from './resolve-command.ts';
import { commandsIn } from './sources.ts';
import { type Command, type Compound, literalOf, type Simple } from './syntax.ts';

export interface CodeReader extends Pick<Interpreter, 'why' | 'fix'> {
  name: string;
}

/** The interpreter within a command that would run its input; undefined where there is none. */
export function readsCode(
  command: Command,
  functions: ReadonlyMap<string, Compound>,
  seen: ReadonlySet<string> = new Set(),
): CodeReader | undefined {
  if (command.kind === 'simple') return simpleReadsCode(command, functions, seen);
  if (command.what === 'function') return undefined;
  for (const list of command.lists) {
    for (const inner of commandsIn(list)) {
      const reader = inner.kind === 'simple' ? simpleReadsCode(inner, functions, seen) : undefined;
      if (reader !== undefined) return reader;
    }
  }
  return undefined;
}

function simpleReadsCode(
  { words }: Simple,
  functions: ReadonlyMap<string, Compound>,
  seen: ReadonlySet<string>,
): CodeReader | undefined {
  if (words.length === 0) return undefined;
  const { name, index, obstacle } = resolveCommand(words);
  if (obstacle !== undefined) return { name: obstacle.wrapper, why: 'may hand it to a shell here' };
  if (name === undefined) {
    return {
      name: 'a command that is only known when the script runs',
      why: 'may run it',
      fix: 'Write the name of the command itself.',
    };
  }
  const body = functions.get(name);
  if (body !== undefined) {
    if (seen.has(name)) return undefined;
    return readsCode({ ...body, what: 'group' }, functions, new Set([...seen, name]));
  }
  const interpreter = interpreterOf(name);
  if (interpreter === undefined || interpreter.input === 'data') return undefined;
  const texts = words.slice(index + 1).map((word) => literalOf(word));
  if (interpreter.arguments === 'after' && !texts.some((text) => interpreter.after?.test(text ?? '')))
    return undefined;
  if (interpreter.input === 'code_without_program' && bringsProgram(interpreter, texts)) return undefined;
  return { name, why: interpreter.why, ...(interpreter.fix === undefined ? {} : { fix: interpreter.fix }) };
}

/** `python3 -c '…'` and `python3 script.py` leave their input to that program. */
function bringsProgram({ harmless }: Interpreter, texts: readonly (string | undefined)[]): boolean {
  const first = texts.find((text) => !(harmless?.test(text ?? '') ?? false));
  if (first === undefined) return false;
  if (/^-(c|e|E|r|ne|pe|le|lne|n|p|-eval|-print)$/.test(first)) return true;
  return !first.startsWith('-') && !/^\/dev\/(stdin|fd\/0)$/.test(first);
}
