// Adds to commands what they read as shell text. Here-documents stand behind the commands that read them, so this needs
// the whole script.
import type { CodeInArguments } from '../commands/code-in-arguments.ts';
import { codeInInput, hasInput, type Inputs, inputsOf, printedBy } from '../commands/code-in-input.ts';
import { outputsOf } from '../commands/code-readers.ts';
import { listsIn } from '../sources.ts';
import type { Nesting } from './nesting.ts';
import { type Command, type List, literalOf, type Simple } from './syntax.ts';

export interface InputReading {
  isBash: boolean;
  nesting: Nesting;
  /** Parses what a command at this place runs as shell text. */
  readCode(code: CodeInArguments, at: number): List | undefined;
}

const nothing: Inputs = () => [];

/** @param inputs What the first command of each pipeline reads. */
export function readInputs({ pipelines }: List, reading: InputReading, inputs: Inputs = nothing): void {
  for (const { commands } of pipelines) {
    let given = inputs;
    for (const command of commands) {
      const read = hasInput(command) ? () => inputsOf(command) : given;
      if (command.kind === 'simple' && command.words.length > 0) readInput(command, reading, read);
      const writes = isTee(command) ? read : () => [printedBy(command)];
      const outputs = new Set(outputsOf(command));
      for (const list of outputs) readInputs(list, reading, writes);
      const parts = new Set(command.kind === 'compound' ? command.lists : []);
      for (const list of listsIn(command))
        if (!outputs.has(list)) readInputs(list, reading, parts.has(list) ? read : nothing);
      given = writes;
    }
  }
}

function readInput(command: Simple, { isBash, nesting, readCode }: InputReading, read: Inputs): void {
  const inputCode: List[] = [];
  for (const code of codeInInput(command, read, isBash)) {
    nesting.reread(code.text.length, command.at);
    const list = readCode(code, command.at);
    if (list !== undefined) inputCode.push(list);
  }
  if (inputCode.length > 0) command.inputCode = inputCode;
}

function isTee({ words: [first] }: Command): boolean {
  return literalOf(first) === 'tee';
}
