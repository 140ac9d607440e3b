// A script of a step as what a WinRM host runs: the program on the command line, what it reads, and its shell's environment.
import { type Binding, cmdInput, powershellInput } from '@opsconductor/protocol';
import { batchVariable, cmdRunner, powershellLine } from './powershell.ts';
import type { CommandLine } from './soap.ts';

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
  environment: Record<string, string>;
}

export function scriptCommand({ text, shell, bindings, environment }: Script): ScriptCommand {
  if (shell !== 'cmd') {
    const input = Buffer.from(powershellInput(text, bindings));
    return { line: powershellLine(shell), input, environment: { ...environment } };
  }
  const { batch, environment: values } = cmdInput(text, bindings);
  const runner = powershellInput(cmdRunner, [
    { name: batchVariable, type: 'string', value: batch, secret: false },
  ]);
  return {
    line: powershellLine('powershell'),
    input: Buffer.from(runner),
    environment: { ...environment, ...values },
  };
}
