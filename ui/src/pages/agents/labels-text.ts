// Labels as text, one per line: `name=value`, or only `name` for an empty value.
import type { Labels } from '@opsconductor/protocol';
import { readLabel } from '../../forms/labels-draft.ts';

export function labelsText(labels: Labels): string {
  return Object.entries(labels).map(labelText).join('\n');
}

export function labelText([name, value]: readonly [string, string]): string {
  return value === '' ? name : `${name}=${value}`;
}

/** Returns the labels, or which line is wrong and why. */
export function readLabels(text: string): { labels: Labels } | { problem: string } {
  const labels: Labels = {};
  for (const [at, line] of text.split('\n').entries()) {
    const entry = line.trim();
    if (entry === '') continue;
    const equals = entry.indexOf('=');
    const name = (equals < 0 ? entry : entry.slice(0, equals)).trim();
    if (name === '') return { problem: `Line ${at + 1} has no name before “=”.` };
    if (Object.hasOwn(labels, name)) return { problem: `Line ${at + 1}: “${name}” is already listed.` };
    const label = readLabel(entry);
    if ('problem' in label) return { problem: `Line ${at + 1}: ${label.problem}` };
    labels[name] = label.value;
  }
  return { labels };
}
