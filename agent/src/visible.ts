// What is printed on a terminal may come from a hostile server or host.

/** Control characters, and those that reverse or hide text, by their numbers. */
export function visible(line: string): string {
  return line.replace(
    /[\p{Cc}\p{Cf}\p{Co}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  );
}

/** A text of several lines: those after the first are set in, so that none stands where a line of this program's own would. */
export function visibleText(text: string): string {
  return text
    .split(/\n[^\S\n]*/)
    .map(visible)
    .join('\n       ');
}
