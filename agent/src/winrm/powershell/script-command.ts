// A script of a step as what a WinRM host runs: the program on the command line, and what it reads. Its environment is there, too, so
// that its shell is like any other.
import { type Binding, cmdInput, powershellInput } from '@opsconductor/protocol';
import type { CommandLine } from '../messages/soap.ts';
import { batchVariable, cmdRunner, powershellLine } from './powershell.ts';

export interface Script {
  text: string;
  shell: 'powershell' | 'pwsh' | 'cmd';
  /** Values that the text refers to. */
  bindings: readonly Binding[];
  environment: Readonly<Record<string, string>>;
}

export interface ScriptCommand {
  line: CommandLine;
  input: Buffer;
}

export function scriptCommand({ text, shell, bindings, environment }: Script): ScriptCommand {
  if (shell !== 'cmd') {
    const input = Buffer.from(powershellInput(text, bindings, environment));
    return { line: powershellLine(shell), input };
  }
  const { batch, environment: values } = cmdInput(text, bindings);
  const bound = [{ name: batchVariable, type: 'string', value: batch, secret: false } as const];
  const runner = powershellInput(cmdRunner, bound, { ...environment, ...values });
  return { line: powershellLine('powershell'), input: Buffer.from(runner) };
}
