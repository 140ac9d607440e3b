// Checks where the placeholders of a step stand, by the rules of each field's language.
import type { ErrorDetail } from '../../api/errors.ts';
import { languages } from '../languages.ts';
import { problemsIn, type ReadField } from '../placeholders/read-step.ts';
import { placeholderText } from '../placeholders/reference.ts';
import { type Placeholder, placeholdersOf } from '../placeholders/template.ts';
import { namesThatRun } from '../sh/commands/special-names.ts';
import { holeMark } from '../sh/reading/syntax.ts';
import { type ShellCode, shellCode } from './shell-code.ts';
import type { Refusal, Site } from './sites.ts';

export interface AnalyzedField {
  problems: ErrorDetail[];
  /** For a script. */
  code?: ShellCode;
  sites: Map<Placeholder, Site>;
}

/**
 * @param fields All fields of the step, because variables that its environment sets matter to its script.
 * @param rawText The text spliced for raw placeholders; by default a plain word.
 */
export function analyzeField(
  field: ReadField,
  fields: readonly ReadField[],
  rawText: (placeholder: Placeholder) => string = () => 'x',
): AnalyzedField {
  const sites = new Map<Placeholder, Site>();
  if (field.language === undefined)
    return { problems: [...nameProblems(field), ...inputProblems(field, fields)], sites };
  const code = shellCode(field.template, rawText);
  const problems = (found: readonly Refusal[]) =>
    problemsIn(
      field.path,
      field.text,
      found.map(({ at, message, fix }) => ({ at: code.placeOf(at), message, fix })),
    );
  const holes = code.holes.flatMap(({ at, placeholder }) => {
    const known = field.known.get(placeholder);
    return known === undefined
      ? []
      : [{ at, type: known.type, label: placeholderText(placeholder.reference) }];
  });
  // A placeholder that can't be looked up has already been reported.
  if (holes.length < code.holes.length) return { problems: [], sites };
  const environment = environmentOf(fields);
  if (holes.length === 0 && environment.size === 0) return { problems: [], code, sites };
  if (field.text.includes(holeMark)) {
    const at = field.text.indexOf(holeMark);
    const message = 'Here is a character that has no meaning in any text (U+FDD0)';
    return { problems: problemsIn(field.path, field.text, [{ at, message, fix: 'Take it out.' }]), sites };
  }
  const { analyze } = languages[field.language];
  const { sites: found, refusals } = analyze(code.text, holes, environment);
  for (const { at, placeholder } of code.holes) {
    const site = found.get(at);
    if (site !== undefined) sites.set(placeholder, site);
  }
  return { problems: problems(refusals), code, sites };
}

/** Returns the environment variables that hold arbitrary text, with the placeholder that it comes from. */
function environmentOf(fields: readonly ReadField[]): Map<string, string> {
  const found = new Map<string, string>();
  for (const { keys, template, known } of fields) {
    const [first, name] = keys;
    if (first !== 'environment' || name === undefined) continue;
    for (const placeholder of placeholdersOf(template)) {
      const type = known.get(placeholder)?.type;
      if (type === 'integer' || type === 'number' || type === 'boolean') continue;
      found.set(name, placeholderText(placeholder.reference));
    }
  }
  return found;
}

/** A value must not be run as code that arrives as the command's input. */
function inputProblems(field: ReadField, fields: readonly ReadField[]): ErrorDetail[] {
  const command = fields.find(({ kind, interpreter }) => kind === 'shell' || interpreter !== undefined);
  if (field.keys[0] !== 'stdin' || command === undefined) return [];
  const { analyze } = languages[command.language ?? 'sh'];
  const fed = `printf '%s' "${holeMark}" | {\n${readerOf(command)}\n}`;
  const at = fed.indexOf(holeMark);
  for (const placeholder of placeholdersOf(field.template)) {
    const known = field.known.get(placeholder);
    if (known === undefined) continue;
    const label = placeholderText(placeholder.reference);
    // Nothing else in it has a value, so any refusal is about what comes with the input.
    const [refused] = analyze(fed, [{ at, type: known.type, label }], new Map()).refusals;
    if (refused === undefined) continue;
    const { message, fix } = refused;
    return problemsIn(field.path, field.text, [{ at: placeholder.at, message, fix }]);
  }
  return [];
}

/** Returns what receives the command's input: its script if we can read it, otherwise its interpreter. */
function readerOf({ template, interpreter, language }: ReadField): string {
  // The way agents call it if there is input (agent/src/steps/ssh-exec/ssh-exec-script.ts).
  if (interpreter !== undefined && language === undefined) return `${interpreter} /dev/fd/3`;
  return shellCode(template, () => 'x').text.replaceAll(holeMark, 'x');
}

/** A value must not decide what is run through a variable that determines that. */
function nameProblems({ path, keys, text, template }: ReadField): ErrorDetail[] {
  const [first, name = ''] = keys;
  const [placeholder] = placeholdersOf(template);
  if (first !== 'environment' || placeholder === undefined || !namesThatRun.has(name.toUpperCase()))
    return [];
  const label = placeholderText(placeholder.reference);
  const message = `${label} would set ${name}, which tells the shell, or programs, what to run`;
  return problemsIn(path, text, [{ at: placeholder.at, message, fix: 'Use a name of your own.' }]);
}
