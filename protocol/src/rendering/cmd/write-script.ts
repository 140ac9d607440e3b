// The text of a batch script with references instead of placeholders. The values are environment variables of the
// cmd.exe that runs it, inserted by delayed expansion after a line has been parsed.
import type { Binding } from '../bindings.ts';
import { textOf } from '../placeholders/values.ts';
import type { Site } from '../sites/sites.ts';

/** Returns how a batch script refers to a variable whose value is put in after the line has been parsed. */
export function cmdReference(name: string): string {
  return `!${name}!`;
}

/** The value as it will appear: anything that would need quoting is refused. */
export function readableInCmd(value: unknown): string {
  return textOf(value);
}

/** A command line has at most 8,191 characters, including values. */
const maxCharacters = 8_000;

/**
 * Returns why a value can't be used in a batch script: cmd.exe can't quote these characters for the next program that
 * parses them.
 */
export function cmdProblem(text: string, { as, isPath, toProgram }: Site): string | undefined {
  const found = /["%!^&|<>()]/.exec(text)?.[0];
  if (found !== undefined) return `contains ${found}, which cmd.exe has no reliable way to quote`;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are meant
  if (/[\u0000-\u001f\u007f]/.test(text)) return 'contains a line break or another control character';
  if (text.length > maxCharacters) return `is longer than ${maxCharacters} characters`;
  if (as !== 'quoted' && text === '') return 'is empty, and stands unquoted, so that nothing would be there';
  if (as !== 'quoted' && toProgram !== undefined && /[\s,;=]/.test(text)) {
    return 'contains a character that separates arguments, and stands unquoted; put it in double quotes';
  }
  if (as === 'quoted' && toProgram !== undefined && text.endsWith('\\')) {
    return 'ends with a backslash, which would quote the quote behind it';
  }
  return isPath === true && /[*?]/.test(text)
    ? 'contains * or ?, which cmd.exe takes for many files'
    : undefined;
}

/**
 * What to run: a batch file with this text, by `cmd.exe /d /q /c`, with these variables in addition to those of the
 * step.
 */
export interface CmdInput {
  /** ASCII wherever the script is. Lines end the way cmd.exe needs. */
  batch: string;
  environment: Record<string, string>;
}

/** Returns what to run for a rendered script. Its lines may end with LF or CRLF. */
export function cmdInput(script: string, bindings: readonly Binding[]): CmdInput {
  // A variable from the step's environment may be read this way too.
  const isDelayed = bindings.length > 0 || /![A-Za-z_][\w.-]*(:[^!\n]*)?!/.test(script);
  const delayed = isDelayed ? 'EnableDelayedExpansion' : '';
  const lines = ['@echo off', `setlocal EnableExtensions ${delayed}`.trimEnd(), ...script.split(/\r?\n/), ''];
  return {
    batch: lines.join('\r\n'),
    environment: Object.fromEntries(bindings.map(({ name, value }) => [name, textOf(value)])),
  };
}
