// Checks whether a value may stand where its placeholder stands.

import type { Language } from '../languages.ts';
import type { TextField } from '../placeholders/fields.ts';
import { referenceText } from '../placeholders/reference.ts';
import type { Known } from '../placeholders/scope.ts';
import type { Placeholder } from '../placeholders/template.ts';
import { textOf } from '../placeholders/values.ts';
import type { Site } from './sites.ts';

/** Returns what is wrong with a value in a script, without repeating the value; `undefined` if nothing is. */
export function siteProblem(
  { reference }: Placeholder,
  known: Known,
  value: unknown,
  site: Site,
  language: Language,
): string | undefined {
  const text = textOf(value);
  const { optionStart = /^-/ } = language;
  if (site.mayBeOption && optionStart.test(text) && !known.allowLeadingDash) {
    const begins = text.startsWith('/') ? 'slash' : 'dash';
    const where = reference.source === 'steps' ? 'the output' : referenceText(reference);
    const mayAllow = reference.source === 'parameters' || reference.source === 'steps';
    const otherwise = mayAllow ? `, or set allow_leading_dash of ${where} where that is meant` : '';
    return `begins with a ${begins}, which a command could take for an option; give another value, put -- before it in the script${otherwise}`;
  }
  if (site.isPath === true && /^\/dev\/(tcp|udp)\//.test(text)) {
    return 'names a connection and no file: the shell would open it';
  }
  return language.problem?.(text, site);
}

/** Returns what is wrong with a value in a text that isn't a script; `undefined` if nothing is. */
export function textValueProblem({ isPattern }: TextField, value: unknown): string | undefined {
  return isPattern === true && /[*?]/.test(textOf(value))
    ? 'has * or ? in it, which would match other files than intended; give another value'
    : undefined;
}

/** Returns what is wrong with a raw text; `undefined` if it is one of the declared values. */
export function rawValueProblem(known: Known, value: unknown): string | undefined {
  const { parameter } = known;
  if (parameter?.enum === undefined) return undefined;
  const text = JSON.stringify(value);
  return parameter.enum.some((each) => JSON.stringify(each) === text)
    ? undefined
    : 'is none of the values of its enum';
}

/** Returns what is wrong with a complete text of the configuration, beginning with `is`. */
export function wholeTextProblem({ keys, rule }: TextField, text: string): string | undefined {
  if (rule === 'agent_path' && !text.startsWith('/')) return 'is not an absolute path: it must begin with /';
  if (rule === 'target_path' && !/^~?\//.test(text)) {
    return 'is not an absolute path: it must begin with /, or with ~/ in the home directory';
  }
  const isOfFile = rule === 'agent_path' || rule === 'target_path' || rule === 'windows_target_path';
  if (isOfFile && text.split(rule === 'windows_target_path' ? /[\\/]/ : '/').includes('..')) {
    return 'has .. in it, which could lead out of where it is meant to be';
  }
  if (rule === 'path' && !text.startsWith('/')) return 'is not an absolute path: it must begin with /';
  if ((rule === 'windows_path' || rule === 'windows_target_path') && !/^([A-Za-z]:[\\/]|\\\\)/.test(text)) {
    return 'is not an absolute path: it must begin with a drive, as C:\\, or with \\\\';
  }
  const limit = rule === undefined ? (keys[0] === 'environment' ? 131_072 : undefined) : 4_096;
  return limit !== undefined && text.length > limit ? `is longer than ${limit} characters` : undefined;
}
