// Values in `[ … ]`, `test …` and `[[ … ]]`: an operand must not be taken for an operator, nor its text be evaluated.

import { bareText, literalOf, type Word } from './reading/syntax.ts';
import type { ReasonName } from './refusals.ts';
import { type Holds, inSegments, namesIn, namesInSubscripts, type Source } from './sources.ts';

const comparesNumbers = /^-(eq|ne|lt|le|gt|ge)$/;

/**
 * Yields the operands that are refused, and why. `keyword` is `[[`, which always distinguishes operators from operands.
 */
export function* checkTest(
  words: readonly Word[],
  holds: Holds,
  isNumber: (at: number) => boolean,
  kind: 'command' | 'keyword',
): Generator<[Source, ReasonName]> {
  const literals = words.map((word) => (kind === 'keyword' ? bareText(word) : literalOf(word)));
  const numbers = literals.some((text) => comparesNumbers.test(text ?? ''));
  const names = literals.some((text) => text === '-v' || text === '-R');
  const joined = kind === 'command' && literals.some((text) => /^(-a|-o|\(|\))$/.test(text ?? ''));
  let wasValue = false;
  for (const [index, word] of words.entries()) {
    const sources = [...inSegments(word.segments, holds)];
    const isCompared = [literals[index - 1], literals[index + 1]].some((text) =>
      comparesNumbers.test(text ?? ''),
    );
    // bash takes a word for an expression there: `[[ count -gt 3 ]]`.
    if (isCompared) for (const source of namesIn(word.segments, holds)) yield [source, 'number_test'];
    else if (names) for (const source of namesInSubscripts(word.segments, holds)) yield [source, 'name_test'];
    for (const source of sources) {
      const isPlainNumber = source.kind === 'hole' && isNumber(source.at);
      if (names) yield [source, 'name_test'];
      else if ((kind === 'keyword' ? isCompared : numbers) && !isPlainNumber) yield [source, 'number_test'];
      else if (joined) yield [source, 'joined_test'];
      else if (wasValue && kind === 'command') yield [source, 'adjacent_test'];
    }
    // A variable that is set elsewhere could also be an operator.
    wasValue = literalOf(word) === undefined;
  }
}
