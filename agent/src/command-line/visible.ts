// What is printed on a terminal may come from a hostile server or host.

/** Shows control characters, and characters that reverse or hide text, as their code points. */
export function visible(line: string): string {
  return line.replace(
    /[\p{Cc}\p{Cf}\p{Co}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
  );
}

/**
 * For a text of several lines: lines after the first are indented, so that none can be mistaken for one of this
 * program's.
 */
export function visibleText(text: string): string {
  return text
    .split(/\n[^\S\n]*/)
    .map(visible)
    .join('\n       ');
}
