// What a command of Rundeck's is: a command line, a script, or something that has no counterpart.
import { asName, asObject, asText, type Loose } from './loose.ts';

export type ScriptSource = {
  kind: 'script' | 'url';
  text: string;
  args: string;
  interpreter: string | undefined;
  at: string;
};
export type Source =
  | { kind: 'exec'; text: string; at: string }
  | ScriptSource
  | { kind: 'other'; text: string; why: string; at: string };

export function sourceOf(command: Loose): Source {
  const exec = asText(command.exec);
  if (exec !== undefined) return { kind: 'exec', text: exec, at: '.exec' };
  const args = asText(command.args) ?? '';
  const interpreter = asText(command.scriptInterpreter);
  const script = asText(command.script);
  if (script !== undefined)
    return { kind: 'script', text: script.replaceAll('\r\n', '\n'), args, interpreter, at: '.script' };
  const url = asText(command.scripturl);
  if (url !== undefined) return { kind: 'url', text: url, args, interpreter, at: '.scripturl' };
  const file = asText(command.scriptfile);
  if (file !== undefined) {
    const why = 'It ran a script that is on Rundeck’s own server.';
    return { kind: 'other', text: `${file} ${args}`.trim(), why, at: '.scriptfile' };
  }
  const jobref = asObject(command.jobref);
  if (jobref !== undefined) {
    const named = [asText(jobref.group), asText(jobref.name) ?? asText(jobref.uuid)].filter(
      (one) => one !== undefined,
    );
    const why = `It ran another job, ${named.join('/')}: put that job’s steps here, or start it by itself.`;
    return {
      kind: 'other',
      text: `${named.join('/')} ${asText(jobref.args) ?? ''}`.trim(),
      why,
      at: '.jobref',
    };
  }
  const type = asText(command.type);
  if (type !== undefined) {
    const text = JSON.stringify(command.configuration ?? {}, null, 2);
    return {
      kind: 'other',
      text: `${type}\n${text}`,
      why: `It was a step of Rundeck’s plugin ${type}.`,
      at: '.type',
    };
  }
  return { kind: 'other', text: '', why: 'It is not a known command.', at: '' };
}

/** Returns a name for the step, if the command suggests one. */
export function nameOf(command: Loose): string | undefined {
  const exec = asText(command.exec);
  if (exec !== undefined) return asName(exec.split('\n')[0] ?? '', 60);
  const jobref = asObject(command.jobref);
  if (jobref !== undefined) return asText(jobref.name) ?? undefined;
  const file = asText(command.scriptfile) ?? asText(command.scripturl);
  return file?.split('/').at(-1) ?? asText(command.type);
}

export function isPowerShell({ interpreter, text }: ScriptSource): boolean {
  return /\b(powershell|pwsh)(\.exe)?\b/i.test(interpreter ?? /^#!.*/.exec(text)?.[0] ?? '');
}

function isScript(source: Source): source is ScriptSource {
  return source.kind === 'script' || source.kind === 'url';
}

/** Returns whether the command, or its error handler, is a PowerShell script. */
export function usesPowerShell(value: unknown): boolean {
  const command = asObject(value);
  if (command === undefined) return false;
  const source = sourceOf(command);
  return (isScript(source) && isPowerShell(source)) || usesPowerShell(command.errorhandler);
}
