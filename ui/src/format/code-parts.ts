// Messages put what should be shown as code in backticks.

export interface TextPart {
  text: string;
  isCode: boolean;
}

/** Splits a text into plain and code parts; an unpaired backtick stays as it is. */
export function codeParts(text: string): TextPart[] {
  return text
    .split(/(`[^`]+`)/)
    .filter((part) => part !== '')
    .map((part) =>
      /^`[^`]+`$/.test(part) ? { text: part.slice(1, -1), isCode: true } : { text: part, isCode: false },
    );
}
