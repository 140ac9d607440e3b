// Messages name what is written in backticks; shown, that is code.

export interface TextPart {
  text: string;
  isCode: boolean;
}

/** A text in parts: those that stood in backticks are code. A backtick without its other one stays a character. */
export function codeParts(text: string): TextPart[] {
  return text
    .split(/(`[^`]+`)/)
    .filter((part) => part !== '')
    .map((part) =>
      /^`[^`]+`$/.test(part) ? { text: part.slice(1, -1), isCode: true } : { text: part, isCode: false },
    );
}
