// The text of a batch script with references in place of its placeholders. The values travel as environment variables of
// the cmd.exe that runs it, and are put in by delayed expansion, behind all reading of a line.
import type { Binding } from '../bindings.ts';
import type { Site } from '../sites.ts';
import { textOf } from '../values.ts';

export function cmdReference(name: string): string {
  return `!${name}!`;
}

/** A value as it comes out: what would have to be quoted is refused. */
export function readableInCmd(value: unknown): string {
  return textOf(value);
}

/** A command line is 8,191 characters at most, values included. */
const maxCharacters = 8_000;

/** What is wrong with a value in a batch script: cmd.exe has no way to quote these for whoever reads them next. */
export function cmdProblem(text: string, { as, isPath, toProgram }: Site): string | undefined {
  const found = /["%!^&|<>()]/.exec(text)?.[0];
  if (found !== undefined) return `contains ${found}, which cmd.exe has no sure way to quote`;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are meant
  if (/[\u0000-\u001f\u007f]/.test(text)) return 'contains a line break or another control character';
  if (text.length > maxCharacters) return `is longer than ${maxCharacters} characters`;
  if (as !== 'quoted' && text === '') return 'is empty, and stands unquoted, so that nothing would be there';
  if (as !== 'quoted' && toProgram !== undefined && /[\s,;=]/.test(text)) {
    return 'contains a character that parts arguments, and stands unquoted; put it in double quotes';
  }
  if (as === 'quoted' && toProgram !== undefined && text.endsWith('\\')) {
    return 'ends with a backslash, which would quote the quote behind it';
  }
  return isPath === true && /[*?]/.test(text)
    ? 'contains * or ?, which cmd.exe takes for many files'
    : undefined;
}

/** What to run: a batch file with this text, by `cmd.exe /d /q /c`, with these variables beside those of the step. */
export interface CmdInput {
  /** ASCII where the script is. Lines end as cmd.exe wants them. */
  batch: string;
  environment: Record<string, string>;
}

export function cmdInput(script: string, bindings: readonly Binding[]): CmdInput {
  // A variable of the environment of the step is read so too.
  const isDelayed = bindings.length > 0 || /![A-Za-z_][\w.-]*(:[^!\n]*)?!/.test(script);
  const delayed = isDelayed ? 'EnableDelayedExpansion' : '';
  const lines = ['@echo off', `setlocal EnableExtensions ${delayed}`.trimEnd(), ...script.split(/\r?\n/), ''];
  return {
    batch: lines.join('\r\n'),
    environment: Object.fromEntries(bindings.map(({ name, value }) => [name, textOf(value)])),
  };
}
