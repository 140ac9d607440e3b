// A script of a step as what a WinRM host runs: the program on the command line, and what it reads. Its environment is there, too, so
// that its shell is like any other.
import { type Binding, cmdInput, powershellInput } from '@opsconductor/protocol';
import type { CommandLine } from '../messages/soap.ts';
import { limitsProgram, limitsVariables } from './limits-program.ts';
import { batchVariable, cmdRunner, inputVariable, powershellLine } from './powershell.ts';

export interface Script {
  text: string;
  shell: 'powershell' | 'pwsh' | 'cmd';
  /** Values that the text refers to. */
  bindings: readonly Binding[];
  environment: Readonly<Record<string, string>>;
  /** What it reads: lines of `$input`, or the standard input of a batch file. */
  stdin?: string;
  limits?: ScriptLimits;
}

export interface ScriptLimits {
  memoryMb: number | undefined;
  priority: 'below_normal' | 'idle' | undefined;
}

export interface ScriptCommand {
  line: CommandLine;
  input: Buffer;
}

export function scriptCommand(script: Script): ScriptCommand {
  const { text, shell, environment, stdin } = script;
  const { bindings: limits, programs } = limitsOf(script);
  if (shell !== 'cmd') {
    const bindings = [...script.bindings, ...limits];
    const input = powershellInput(text, bindings, environment, { programs, input: stdin });
    return { line: powershellLine(shell), input: Buffer.from(input) };
  }
  const { batch, environment: values } = cmdInput(text, script.bindings);
  const bound = [bind(batchVariable, batch), ...(stdin === undefined ? [] : [bind(inputVariable, stdin)])];
  const all = { ...environment, ...values };
  const runner = powershellInput(cmdRunner, [...bound, ...limits], all, { programs });
  return { line: powershellLine('powershell'), input: Buffer.from(runner) };
}

/** The names that .NET has for them. */
const priorities = { below_normal: 'BelowNormal', idle: 'Idle' } as const;

function limitsOf({ limits }: Script): { bindings: Binding[]; programs: string[] } {
  const { memoryMb, priority } = limits ?? {};
  const bindings = [
    ...(memoryMb === undefined ? [] : [bind(limitsVariables.memory, String(memoryMb))]),
    ...(priority === undefined ? [] : [bind(limitsVariables.priority, priorities[priority])]),
  ];
  return { bindings, programs: bindings.length === 0 ? [] : [limitsProgram] };
}

function bind(name: string, value: string): Binding {
  return { name, type: 'string', value, secret: false };
}
