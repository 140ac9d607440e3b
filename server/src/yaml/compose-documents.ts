// Parses YAML step by step, so that hostile text is refused before it has cost much: how deep the parser is and how many
// lexemes it has read are limited while it reads.
import { Composer, type Document, Lexer, type LineCounter, Parser } from 'yaml';

type ComposerOptions = ConstructorParameters<typeof Composer>[0];

/** Errors beyond these are left out: a text of a megabyte can have half a million, which take seconds to make. */
const maxErrors = 100;

export interface ComposeLimits {
  maxDepth: number;
  maxTokens: number;
  /** Make the errors to throw, for an offset in the text. */
  tooDeep(offset: number): Error;
  tooLong(offset: number): Error;
}

/**
 * Returns the documents of a text, with their errors, or the first few of many. Positions are offsets; `lines` learns
 * where lines begin. Equal keys are left to the caller: the library compares each key with every other.
 */
export function composeDocuments(
  text: string,
  lines: LineCounter,
  options: ComposerOptions,
  limits: ComposeLimits,
): Document[] {
  const parser = new Parser(lines.addNewLine);
  lines.addNewLine(0);
  const composer = new Composer({ ...options, uniqueKeys: false, prettyErrors: false, logLevel: 'silent' });
  leaveOutErrors(composer);
  const documents: Document[] = [];
  const add = (composed: Iterable<Document>) => {
    for (const document of composed) documents.push(document);
  };
  let tokens = 0;
  let wrongTokens = 0;
  for (const lexeme of new Lexer().lex(text.replace(/^\ufeff/, ''))) {
    tokens += 1;
    // The parser's own offset is used: the lexer's marks between lexemes are not characters of the text.
    const { offset } = parser;
    if (parser.stack.length > limits.maxDepth * 2) throw limits.tooDeep(offset);
    if (tokens > limits.maxTokens) throw limits.tooLong(offset);
    for (const token of parser.next(lexeme)) {
      if (token.type === 'error' && ++wrongTokens > maxErrors) continue;
      add(composer.next(token));
    }
    // No caller takes more than one document.
    if (documents.length > 1) return documents;
  }
  for (const token of parser.end()) add(composer.next(token));
  add(composer.end());
  return documents;
}

type OnError = (source: unknown, code: string, message: string, isWarning?: boolean) => void;

/** Makes the composer drop warnings, which nobody reads, and the errors after the first ones. */
function leaveOutErrors(composer: Composer): void {
  // The library has no limit of its own. All of its parts note errors through this property, which is not in its types.
  const inner = composer as unknown as { onError: OnError };
  const note = inner.onError;
  let errors = 0;
  inner.onError = (source, code, message, isWarning) => {
    if (isWarning === true || ++errors > maxErrors) return;
    note(source, code, message);
  };
}
