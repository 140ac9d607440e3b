// Suggested fixes: a fix is offered only if trying it shows that the problem disappears and no new one appears.
import { checkDefinition } from '@opsconductor/protocol';
import { editDefinition } from '../text/edit-definition.ts';
import { type Path, valueAt } from '../text/path.ts';
import { type DefinitionText, readDefinition } from '../text/read-definition.ts';
import { orderOf } from '../text/write-definition.ts';
import type { Fix, Problem } from './problems.ts';

interface Candidate {
  label: string;
  becomes?: string;
  text: string;
}

/** Returns the first fix that works, or undefined if a person has to decide. */
export function fixFor(read: DefinitionText, problem: Problem): Fix | undefined {
  const before = checkDefinition(read.value).length;
  for (const candidate of candidates(read, problem)) {
    const next = readDefinition(candidate.text);
    if (next.problems.length > 0 || candidate.text === read.text) continue;
    const after = checkDefinition(next.value);
    if (
      after.length < before &&
      !after.some((one) => one.path === problem.path && one.message === problem.message)
    )
      return candidate;
  }
  return undefined;
}

function candidates(read: DefinitionText, problem: Problem): Candidate[] {
  return [...nearName(read, problem), ...unknownRetry(read, problem), ...inShell(read, problem)];
}

/** `timout` for `timeout`. */
function nearName({ text }: DefinitionText, { place, message }: Problem): Candidate[] {
  const near = /did you mean ([\w-]+)\?/.exec(message)?.[1];
  if (near === undefined) return [];
  return [
    {
      label: `Rename to ${near}`,
      becomes: `${near}:`,
      text: editDefinition(text, { kind: 'rename', path: place, to: near }),
    },
  ];
}

function unknownRetry({ text }: DefinitionText, { place }: Problem): Candidate[] {
  const parent = place.slice(0, -1);
  if (place.at(-1) === 'hold_for') {
    return [
      {
        label: 'Hold it',
        becomes: 'on_unknown: hold',
        text: editDefinition(
          text,
          { kind: 'set', path: [...parent, 'on_unknown'], value: 'hold' },
          { orderOf },
        ),
      },
    ];
  }
  return place.at(-1) === 'on_unknown'
    ? [
        {
          label: 'Hold it instead',
          becomes: 'on_unknown: hold',
          text: editDefinition(text, { kind: 'set', path: place, value: 'hold' }),
        },
      ]
    : [];
}

/** Moves a placeholder out of single quotes, or out of no quotes, into double quotes. */
function inShell({ text, value }: DefinitionText, { place, message }: Problem): Candidate[] {
  const script = valueAt(value, place);
  const at = /^Line (\d+), column (\d+)/.exec(message);
  if (typeof script !== 'string' || at === null) return [];
  const [line, column] = [Number(at[1]), Number(at[2])];
  const lines = script.split('\n');
  const before = lines[line - 1];
  if (before === undefined) return [];
  return [inDoubleQuotes(before, column - 1), quoted(before, column - 1)].flatMap((becomes) => {
    if (becomes === undefined || becomes === before) return [];
    const next = lines.with(line - 1, becomes).join('\n');
    return [
      {
        label: 'Use this',
        becomes: becomes.trim(),
        text: editDefinition(text, { kind: 'set', path: place as Path, value: next }),
      },
    ];
  });
}

/** Turns the single quotes around a column into double quotes and escapes what those would expand. */
function inDoubleQuotes(line: string, column: number): string | undefined {
  for (const found of line.matchAll(/'[^']*'/g)) {
    const [from, to] = [found.index, found.index + found[0].length];
    if (column < from || column >= to) continue;
    const inner = found[0]
      .slice(1, -1)
      .split(/(\$\{\{.*?\}\})/)
      .map((part) => (part.startsWith('${{') ? part : part.replaceAll(/["\\$`]/g, '\\$&')))
      .join('');
    return `${line.slice(0, from)}"${inner}"${line.slice(to)}`;
  }
  return undefined;
}

/** Puts quotes around the placeholder at a column. */
function quoted(line: string, column: number): string | undefined {
  const from = line.startsWith('${{', column) ? column : line.lastIndexOf('${{', column);
  const end = from === -1 ? -1 : line.indexOf('}}', from);
  if (end === -1) return undefined;
  return `${line.slice(0, from)}"${line.slice(from, end + 2)}"${line.slice(end + 2)}`;
}
