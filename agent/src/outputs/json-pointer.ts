// Finds the value that a JSON pointer (RFC 6901) names, as it is written: a number keeps its digits, which parsing
// would lose. The text is parsed once to make sure that it is JSON, and then walked.

/**
 * Returns a string without its escapes, or `true`, a number or compact JSON as written; undefined for null and for
 * nothing.
 */
export function valueAt(json: string, pointer: string): string | undefined {
  let span: Span | undefined = spanAt(json, skipSpace(json, 0));
  for (const token of tokensOf(pointer)) {
    span = span && memberOf(json, span, token);
  }
  if (span === undefined) return undefined;
  const text = json.slice(span.start, span.end);
  if (text === 'null') return undefined;
  return text.startsWith('"') ? (JSON.parse(text) as string) : compact(text);
}

interface Span {
  start: number;
  end: number;
}

function tokensOf(pointer: string): string[] {
  return pointer
    .split('/')
    .slice(1)
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
}

/** If several members have one name the last counts, as in every parser. */
function memberOf(json: string, { start }: Span, token: string): Span | undefined {
  const opening = json[start];
  if (opening !== '{' && opening !== '[') return undefined;
  const isArray = opening === '[';
  if (isArray && !/^(0|[1-9]\d*)$/.test(token)) return undefined;
  let found: Span | undefined;
  let at = skipSpace(json, start + 1);
  for (let index = 0; json[at] !== '}' && json[at] !== ']'; index += 1) {
    let name = String(index);
    if (!isArray) {
      const key = spanAt(json, at);
      name = JSON.parse(json.slice(key.start, key.end)) as string;
      // Skips the colon.
      at = skipSpace(json, skipSpace(json, key.end) + 1);
    }
    const value = spanAt(json, at);
    if (name === token) {
      found = value;
      if (isArray) return found;
    }
    at = skipSpace(json, value.end);
    if (json[at] === ',') at = skipSpace(json, at + 1);
  }
  return found;
}

/** The extent of the value that begins here, found without recursion, however deep it is. */
function spanAt(json: string, start: number): Span {
  let at = start;
  let depth = 0;
  do {
    const character = json[at];
    if (character === '"') at = stringEnd(json, at);
    else {
      if (character === '{' || character === '[') depth += 1;
      else if (character === '}' || character === ']') depth -= 1;
      else if (depth === 0) return { start, end: scalarEnd(json, at) };
      at += 1;
    }
  } while (depth > 0);
  return { start, end: at };
}

function stringEnd(json: string, start: number): number {
  let at = start + 1;
  while (json[at] !== '"') at += json[at] === '\\' ? 2 : 1;
  return at + 1;
}

function scalarEnd(json: string, start: number): number {
  const end = /[\s,\]}]/g;
  end.lastIndex = start;
  return end.exec(json)?.index ?? json.length;
}

function skipSpace(json: string, start: number): number {
  let at = start;
  while (at < json.length && ' \t\r\n'.includes(json[at] as string)) at += 1;
  return at;
}

/** The text without the white space between values. */
function compact(json: string): string {
  let text = '';
  let at = 0;
  while (at < json.length) {
    const from = at;
    if (json[at] === '"') at = stringEnd(json, at);
    else at += 1;
    const part = json.slice(from, at);
    if (!' \t\r\n'.includes(part)) text += part;
  }
  return text;
}
