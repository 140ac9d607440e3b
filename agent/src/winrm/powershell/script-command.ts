// Turns a step's script into what a WinRM host runs: the program on the command line, and its input. The environment is
// part of the input, so that the shell is like any other.
import { randomBytes } from 'node:crypto';
import { type Binding, cmdInput, powershellInput } from '@opsconductor/protocol';
import type { CommandLine } from '../messages/soap.ts';
import { limitsProgram, limitsVariables } from './limits-program.ts';
import { batchRemover, batchVariables, cmdRunner, powershellLine } from './powershell.ts';

export interface Script {
  text: string;
  shell: 'powershell' | 'pwsh' | 'cmd';
  /** Values that the text refers to. */
  bindings: readonly Binding[];
  environment: Readonly<Record<string, string>>;
  /** Its input: lines of `$input`, or the standard input of a batch file. */
  stdin?: string;
  limits?: ScriptLimits;
  /** The name of the task that it runs as. */
  task?: string;
}

export interface ScriptLimits {
  memoryMb: number | undefined;
  priority: 'below_normal' | 'idle' | undefined;
}

export interface ScriptCommand {
  line: CommandLine;
  input: Buffer;
  /** Removes the files of a batch file if the command was ended from outside. */
  removal?: Omit<ScriptCommand, 'removal'>;
}

export function scriptCommand(script: Script): ScriptCommand {
  const { text, shell, environment, stdin, task } = script;
  const { bindings: limits, programs } = limitsOf(script);
  if (shell !== 'cmd') {
    const bindings = [...script.bindings, ...limits];
    const input = powershellInput(text, bindings, environment, { programs, input: stdin });
    return { line: powershellLine(shell), input: Buffer.from(input) };
  }
  const { batch, environment: values } = cmdInput(text, script.bindings);
  // A name that nobody can have used before.
  const folder = bind(batchVariables.folder, `opsconductor-${randomBytes(16).toString('hex')}`);
  const bound = [
    bind(batchVariables.batch, batch),
    ...(stdin === undefined ? [] : [bind(batchVariables.input, stdin)]),
    task === undefined ? folder : bind(batchVariables.task, task),
  ];
  const all = { ...environment, ...values };
  const runner = powershellInput(cmdRunner, [...bound, ...limits], all, { programs });
  const line = powershellLine('powershell');
  const command: ScriptCommand = { line, input: Buffer.from(runner) };
  if (task !== undefined) return command;
  // The environment says where temporary files are.
  const remover = powershellInput(batchRemover, [folder], environment);
  return { ...command, removal: { line, input: Buffer.from(remover) } };
}

/** .NET's names for the priorities. */
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
