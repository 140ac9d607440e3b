// Include and exclude patterns as in rsync: the first one that matches decides, and what none matches is transferred.
// Includes are checked before excludes.

type Token =
  | { kind: 'text'; text: string }
  | { kind: 'any' }
  | { kind: 'star' }
  | { kind: 'deep' }
  | { kind: 'set'; isNegated: boolean; ranges: [number, number][] };

interface Pattern {
  tokens: Token[];
  /** Whether it begins at the top of what is transferred. */
  isAnchored: boolean;
  /** Whether it matches directories only. */
  isDirectory: boolean;
  /** Whether it is matched against the whole path, not just its last name. */
  isPath: boolean;
}

/** Returns whether the entry at a path, relative to the top, is transferred. */
export type PathFilter = (path: string, isDirectory: boolean) => boolean;

/**
 * Returns a filter of paths below the top. The first pattern that matches decides, those of `include` before those of
 * `exclude`; a path that none matches is transferred.
 */
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
  // `name/***` means the directory and everything in it.
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
  // In a pattern without wildcards a backslash stands for itself.
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

/** Reads `[a-z]` or `[!a-z]`; undefined if the bracket is not closed. */
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
  return fits(tokens, path, true);
}

/**
 * Tracks all positions that the pattern can have reached, so that the cost is at most its length times the text's.
 *
 * @param anyTail whether it may match any tail of the text that begins at a name.
 */
function fits(tokens: readonly Token[], text: string, anyTail = false): boolean {
  let places = withSkips(tokens, new Set([0]));
  for (const character of text) {
    const next = new Set<number>();
    for (const place of places) {
      const token = tokens[place];
      if (token === undefined) continue;
      if (token.kind === 'deep' || (token.kind === 'star' && character !== '/')) next.add(place);
      else if (takes(token, character)) next.add(place + 1);
    }
    if (anyTail && character === '/') next.add(0);
    if (next.size === 0 && !anyTail) return false;
    places = withSkips(tokens, next);
  }
  return places.has(tokens.length);
}

/** Adds the positions after stars, which may match nothing. */
function withSkips(tokens: readonly Token[], places: Set<number>): Set<number> {
  // Iterating over a set also visits what is added during the iteration.
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
