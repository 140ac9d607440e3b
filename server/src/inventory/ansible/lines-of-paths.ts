// Finds the lines of things in a JSON text that was already parsed: by the keys that lead there from the root, where the
// texts in a list of names count as its keys; and of keys that occur twice in one object.

/** How deep in a file are things with a meaning: the variables of a host. */
const maxDepth = 4;

/**
 * @param paths Keys joined by NUL, at most four per path.
 * @returns The line of each path that exists.
 */
export function linesOfPaths(text: string, paths: ReadonlySet<string>): Map<string, number> {
  const lines = new Map<string, number>();
  const open: { isList: boolean; key: string | undefined }[] = [];
  let line = 1;
  let at = 0;
  const note = (name: string) => {
    const keys = open.slice(0, -1).map((level) => level.key ?? '');
    const path = [...keys, name].join('\0');
    if (paths.has(path) && !lines.has(path)) lines.set(path, line);
  };
  while (at < text.length) {
    const character = text[at];
    if (character === '\n') line += 1;
    else if (character === '{' || character === '[') open.push({ isList: character === '[', key: undefined });
    else if (character === '}' || character === ']') open.pop();
    else if (character === '"') {
      const end = endOfString(text, at);
      const level = open.at(-1);
      if (level !== undefined && open.length <= maxDepth) {
        const isKey = !level.isList && hasColon(text, end);
        if (isKey || level.isList) {
          const name = String(JSON.parse(text.slice(at, end + 1)));
          if (isKey) level.key = name;
          note(name);
        }
      }
      at = end;
    }
    at += 1;
  }
  return lines;
}

/** Yields the line of each key that occurred before in the same object, as far as keys have a meaning. */
export function* linesOfRepeatedKeys(text: string): Generator<number> {
  /** The keys so far of each open object; undefined for a list, and for what is deeper. */
  const open: (Set<string> | undefined)[] = [];
  let line = 1;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at];
    if (character === '\n') line += 1;
    else if (character === '{') open.push(open.length < maxDepth ? new Set() : undefined);
    else if (character === '[') open.push(undefined);
    else if (character === '}' || character === ']') open.pop();
    else if (character === '"') {
      const end = endOfString(text, at);
      const keys = open.at(-1);
      if (keys !== undefined && hasColon(text, end)) {
        const key = String(JSON.parse(text.slice(at, end + 1)));
        if (keys.has(key)) yield line;
        keys.add(key);
      }
      at = end;
    }
  }
}

function hasColon(text: string, end: number): boolean {
  let at = end + 1;
  while (text[at] === ' ' || text[at] === '\t' || text[at] === '\n' || text[at] === '\r') at += 1;
  return text[at] === ':';
}

function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === '\\') at += 1;
    else if (text[at] === '"') return at;
  }
  return text.length - 1;
}
