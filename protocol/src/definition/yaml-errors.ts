// The errors of a YAML parser in words, and what they come of. For server and console.

export interface YamlError {
  code: string;
  pos: readonly [number, number];
}

const words: Record<string, string> = {
  ALIAS_PROPS: 'An alias has no properties of its own.',
  BAD_ALIAS: 'This is not an alias; put text that begins with * in quotes.',
  BAD_DIRECTIVE: 'This directive is not known.',
  BAD_DQ_ESCAPE:
    'This escape is not known in double quotes; write `\\\\` for a backslash, or use single quotes.',
  BAD_INDENT: 'This is not indented as what it belongs to.',
  BAD_PROP_ORDER: 'Anchors and tags stand before the value, after its `- ` or `key:`.',
  BAD_SCALAR_START: 'Text can’t begin with this character; put it in quotes.',
  BLOCK_AS_IMPLICIT_KEY:
    'A key takes one line, and `: ` begins a value; put text with `: ` in quotes, or below it, after `|`.',
  BLOCK_IN_FLOW: 'Inside [ ] and { } nothing is written in lines with indents.',
  DUPLICATE_KEY: 'This key occurs twice.',
  KEY_OVER_1024_CHARS: 'A key has 1024 characters at most.',
  MISSING_CHAR: 'Something is missing here: a comma, a quote, a colon or a closing bracket.',
  MULTILINE_IMPLICIT_KEY: 'A key takes one line; is a colon missing?',
  MULTIPLE_ANCHORS: 'A value has one anchor.',
  MULTIPLE_DOCS: 'A second document begins here; send one.',
  MULTIPLE_TAGS: 'A value has one tag.',
  TAB_AS_INDENT: 'Indents are spaces; here is a tab.',
  TAG_RESOLVE_FAILED: 'This tag is not known; leave it out.',
  UNEXPECTED_TOKEN: 'This means nothing here.',
};

/** Returns the errors without those that follow from a bracket in unquoted text, where the parser loses its place. */
export function ownYamlErrors<E extends YamlError>(text: string, errors: readonly E[]): E[] {
  const at = errors.findIndex((error) => isBracketInText(text, error));
  return at === -1 ? [...errors] : errors.slice(0, at + 1);
}

/** Returns what is wrong and what to write instead, for people who seldom write YAML. Quotes nothing of the text. */
export function yamlErrorWords(text: string, error: YamlError): string {
  return (
    bracketProblem(text, error) ??
    words[error.code] ??
    `This is not YAML (${error.code.toLowerCase().replaceAll('_', ' ')}).`
  );
}

/** Returns what to write instead; undefined for all other errors. */
function bracketProblem(text: string, error: YamlError): string | undefined {
  if (!isBracketInText(text, error)) return undefined;
  return text.startsWith('{{', error.pos[0])
    ? 'Text with a placeholder must be in quotes here: inside { } and [ ], a { begins something new.'
    : `Text with ${text[error.pos[0]]} must be in quotes here: it begins something new.`;
}

function isBracketInText(text: string, { code, pos: [at] }: YamlError): boolean {
  return code === 'UNEXPECTED_TOKEN' && (text[at] === '{' || text[at] === '[');
}
