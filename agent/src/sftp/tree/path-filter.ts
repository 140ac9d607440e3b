// Include and exclude patterns in rsync's manner: the first that matches decides, and what none matches is transferred.
// Includes are looked at before excludes.

type Token =
  | { kind: 'text'; text: string }
  | { kind: 'any' }
  | { kind: 'star' }
  | { kind: 'deep' }
  | { kind: 'set'; isNegated: boolean; ranges: [number, number][] };

interface Pattern {
  tokens: Token[];
  /** Begins at the top of what is transferred. */
  isAnchored: boolean;
  /** Matches directories alone. */
  isDirectory: boolean;
  /** Is held against the whole path, and not against the last name of it. */
  isPath: boolean;
}

/** Whether what is at a path, relative to the top, is transferred. */
export type PathFilter = (path: string, isDirectory: boolean) => boolean;

export function pathFilter(include: readonly string[] = [], exclude: readonly string[] = []): PathFilter {
  if (include.length + exclude.length === 0) return () => true;
  const rules = [
    ...include.flatMap(parsePattern).map((pattern) => ({ pattern, isIn: true })),
    ...exclude.flatMap(parsePattern).map((pattern) => ({ pattern, isIn: false })),
  ];
  return (path, isDirectory) =>
    rules.find(({ pattern }) => matches(pattern, path, isDirectory))?.isIn ?? true;
}

function parsePattern(text: string): Pattern[] {
  // `name/***` is the directory and all in it.
  if (text.endsWith('/***')) {
    const directory = text.slice(0, -4);
    return [...parsePattern(`${directory}/`), ...parsePattern(`${directory}/**`)];
  }
  const isAnchored = text.startsWith('/');
  const isDirectory = text.endsWith('/') && text.length > 1;
  const body = text.slice(isAnchored ? 1 : 0, isDirectory ? -1 : undefined);
  const tokens = tokensOf(body);
  const isPath = body.includes('/') || tokens.some(({ kind }) => kind === 'deep');
  return [{ tokens, isAnchored, isDirectory, isPath }];
}

function tokensOf(text: string): Token[] {
  // A backslash is one where there is nothing to escape.
  const hasWildcard = /[*?[]/.test(text);
  const tokens: Token[] = [];
  const characters = [...text];
  for (let at = 0; at < characters.length; at += 1) {
    const character = characters[at] as string;
    const next = characters[at + 1];
    if (character === '*' && next === '*') {
      while (characters[at + 1] === '*') at += 1;
      tokens.push({ kind: 'deep' });
    } else if (character === '*') tokens.push({ kind: 'star' });
    else if (character === '?') tokens.push({ kind: 'any' });
    else if (character === '[') {
      const set = readSet(characters, at);
      if (set === undefined) tokens.push({ kind: 'text', text: character });
      else {
        tokens.push(set.token);
        at = set.end;
      }
    } else if (character === '\\' && hasWildcard && next !== undefined) {
      tokens.push({ kind: 'text', text: next });
      at += 1;
    } else tokens.push({ kind: 'text', text: character });
  }
  return tokens;
}

/** `[a-z]` and `[!a-z]`; undefined where the bracket is not closed. */
function readSet(characters: readonly string[], open: number): { token: Token; end: number } | undefined {
  let at = open + 1;
  const isNegated = characters[at] === '!' || characters[at] === '^';
  if (isNegated) at += 1;
  const ranges: [number, number][] = [];
  for (let first = true; at < characters.length; first = false) {
    if (characters[at] === ']' && !first) return { token: { kind: 'set', isNegated, ranges }, end: at };
    const from = characters[at]?.codePointAt(0) ?? 0;
    const isRange =
      characters[at + 1] === '-' && characters[at + 2] !== undefined && characters[at + 2] !== ']';
    const to = isRange ? (characters[at + 2]?.codePointAt(0) ?? 0) : from;
    ranges.push([from, to]);
    at += isRange ? 3 : 1;
  }
  return undefined;
}

function matches(
  { tokens, isAnchored, isDirectory, isPath }: Pattern,
  path: string,
  onDirectory: boolean,
): boolean {
  if (isDirectory && !onDirectory) return false;
  if (isAnchored) return fits(tokens, path);
  if (!isPath) return fits(tokens, path.slice(path.lastIndexOf('/') + 1));
  // Of a pattern that is not anchored, any end of the path that begins with a name will do.
  for (let at = 0; ; at += 1) {
    if (fits(tokens, path.slice(at))) return true;
    at = path.indexOf('/', at);
    if (at === -1) return false;
  }
}

/** All places that a pattern can have come to are carried along, so that its cost is its length times the text's. */
function fits(tokens: readonly Token[], text: string): boolean {
  let places = withSkips(tokens, new Set([0]));
  for (const character of text) {
    const next = new Set<number>();
    for (const place of places) {
      const token = tokens[place];
      if (token === undefined) continue;
      if (token.kind === 'deep' || (token.kind === 'star' && character !== '/')) next.add(place);
      else if (takes(token, character)) next.add(place + 1);
    }
    if (next.size === 0) return false;
    places = withSkips(tokens, next);
  }
  return places.has(tokens.length);
}

/** Stars may stand for nothing. */
function withSkips(tokens: readonly Token[], places: Set<number>): Set<number> {
  // A set that grows while it is gone through has its new members visited too.
  for (const place of places) {
    const kind = tokens[place]?.kind;
    if (kind === 'star' || kind === 'deep') places.add(place + 1);
  }
  return places;
}

function takes(token: Token, character: string): boolean {
  if (token.kind === 'text') return token.text === character;
  if (token.kind === 'any') return character !== '/';
  if (token.kind !== 'set' || character === '/') return false;
  const code = character.codePointAt(0) ?? 0;
  return token.ranges.some(([from, to]) => code >= from && code <= to) !== token.isNegated;
}
