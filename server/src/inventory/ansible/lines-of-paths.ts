// Finds the lines of things in a JSON text that was already parsed, by the keys that lead there from the root. The
// texts in a list of names count as its keys.

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
      if (level !== undefined && open.length <= 4) {
        const isKey = !level.isList && /^\s*:/.test(text.slice(end + 1, end + 20));
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

function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    if (text[at] === '\\') at += 1;
    else if (text[at] === '"') return at;
  }
  return text.length - 1;
}
