// What the errors of a YAML parser come of, where its own words don't say so. For server and console.

export interface YamlError {
  code: string;
  pos: readonly [number, number];
}

/** Returns the errors without those that follow from a bracket in unquoted text, where the parser loses its place. */
export function ownYamlErrors<E extends YamlError>(text: string, errors: readonly E[]): E[] {
  const at = errors.findIndex((error) => isBracketInText(text, error));
  return at === -1 ? [...errors] : errors.slice(0, at + 1);
}

/** Returns what to write instead; undefined for all other errors. */
export function yamlBracketProblem(text: string, error: YamlError): string | undefined {
  if (!isBracketInText(text, error)) return undefined;
  return text.startsWith('{{', error.pos[0])
    ? 'Text with a placeholder must be in quotes here: inside { } and [ ], a { begins something new.'
    : `Text with ${text[error.pos[0]]} must be in quotes here: it begins something new.`;
}

function isBracketInText(text: string, { code, pos: [at] }: YamlError): boolean {
  return code === 'UNEXPECTED_TOKEN' && (text[at] === '{' || text[at] === '[');
}
