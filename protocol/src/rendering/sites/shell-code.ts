// The text of a script in the form that the shell parsers read: one mark for each placeholder.

import type { Placeholder, Template } from '../placeholders/template.ts';
import { holeMark } from '../sh/reading/syntax.ts';

export interface ShellCode {
  text: string;
  holes: { at: number; placeholder: Placeholder }[];
  /** Maps a position in the text to one in the template. */
  placeOf(at: number): number;
}

/** @param rawText The text spliced for a raw placeholder. */
export function shellCode(template: Template, rawText: (placeholder: Placeholder) => string): ShellCode {
  let text = '';
  const holes: ShellCode['holes'] = [];
  const places: { from: number; to: number; isHole: boolean }[] = [];
  for (const part of template.parts) {
    const isHole = part.kind === 'placeholder';
    places.push({ from: text.length, to: part.at, isHole });
    if (part.kind === 'literal') text += part.text;
    else if (part.reference.raw) text += rawText(part);
    else {
      holes.push({ at: text.length, placeholder: part });
      text += holeMark;
    }
  }
  const placeOf = (at: number) => {
    const part = places[lastBefore(places, at)];
    if (part === undefined) return at;
    return Math.min(part.isHole ? part.to : part.to + (at - part.from), template.text.length);
  };
  return { text, holes, placeOf };
}

/** Returns the index of the last place that begins at or before an offset. */
function lastBefore(places: readonly { from: number }[], at: number): number {
  let low = 0;
  let high = places.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((places[middle]?.from ?? 0) <= at) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
