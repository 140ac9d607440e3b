import type { Draft } from './draft.ts';

/** Adds, drops or doubles a few characters that mean something to a shell. */
export function mutated(draft: Draft, text: string): string {
  let result = text;
  for (let left = 1 + draft.number(3); left > 0; left -= 1) {
    const at = draft.number(result.length + 1);
    // A placeholder stays whole.
    if (/⟪\d*$/.test(result.slice(0, at))) continue;
    const next = result[at] ?? '';
    const piece = draft.pick([
      ...[
        '\\',
        '\\\n',
        "'",
        '"',
        '`',
        '$',
        '$(',
        '(',
        ')',
        '{',
        '}',
        '[',
        ']',
        ';',
        '&',
        '|',
        '<',
        '>',
        '\n',
      ],
      ...[
        ' ',
        '#',
        ' #',
        '=',
        '!',
        '~',
        '*',
        '((',
        '))',
        '[[',
        ']]',
        ';;',
        '&&',
        '||',
        '<<E\n',
        ' <<<',
        '\t',
        '\r',
      ],
      ...[
        '$$',
        '${',
        ' in ',
        ' do ',
        ' then ',
        ' }',
        '{ ',
        "$'",
        '&>',
        '>&',
        '|&',
        '2>',
        'time ',
        '! ',
        'eval ',
      ],
    ]);
    result =
      next !== '⟪' && draft.chance(0.3)
        ? result.slice(0, at) + result.slice(at + 1)
        : result.slice(0, at) + piece + result.slice(at);
  }
  return result;
}
