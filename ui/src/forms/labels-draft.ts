// Labels as people type them: `env=prod`, or only a name.
import { type Labels, labelNamePattern, reservedLabelNames } from '@opsconductor/protocol';

const namePattern = new RegExp(labelNamePattern);
const maxNameLength = 63;
const maxValueLength = 255;

/** A name in use, with its most common values. */
export type LabelInUse = { name: string; values: readonly string[] };

export type ReadLabel = { name: string; value: string } | { problem: string };

export function readLabel(text: string): ReadLabel {
  const at = text.indexOf('=');
  const name = (at === -1 ? text : text.slice(0, at)).trim();
  const value = at === -1 ? '' : text.slice(at + 1).trim();
  if (name === '') return { problem: 'Write a name, or name=value.' };
  if ((reservedLabelNames as readonly string[]).includes(name)) {
    return { problem: `“${name}” is a reserved word in selectors, so it can’t be the name of a label.` };
  }
  if (name.length > maxNameLength) return { problem: `A name has at most ${maxNameLength} characters.` };
  if (!namePattern.test(name)) {
    return {
      problem: `“${name}” is not a valid name: use letters, digits, dots, slashes, hyphens and underscores, with a letter or digit at both ends.`,
    };
  }
  if (value.length > maxValueLength) return { problem: `A value has at most ${maxValueLength} characters.` };
  return { name, value };
}

/** Returns suggestions for what has been typed: names in use, or after `=` the values of that name. */
export function labelOffers(text: string, inUse: readonly LabelInUse[], most = 12): string[] {
  const at = text.indexOf('=');
  const wanted = text.toLowerCase().trim();
  const all =
    at === -1
      ? inUse.flatMap(({ name, values }) => (values.length === 0 ? name : `${name}=`))
      : inUse
          .filter(({ name }) => name === text.slice(0, at).trim())
          .flatMap(({ name, values }) => values.map((value) => `${name}=${value}`));
  return all
    .filter((offer) => offer.toLowerCase().startsWith(wanted) && offer !== text.trim())
    .slice(0, most);
}

export function withLabel(labels: Labels, { name, value }: { name: string; value: string }): Labels {
  return { ...labels, [name]: value };
}

export function withoutLabel(labels: Labels, name: string): Labels {
  return Object.fromEntries(Object.entries(labels).filter(([one]) => one !== name));
}
