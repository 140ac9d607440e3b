// Detects what JSON.parse accepts in valid JSON but we refuse: endless nesting, and a name that occurs twice in one
// object, of which it would keep the last while a reader of the text might see the first.
import { setImmediate } from 'node:timers/promises';

export type JsonShape = 'sound' | 'too_deep' | 'repeated_name';

/** Characters that are looked at in one go. */
const pieceLength = 500_000;

/** The text must be valid JSON. It may have thirty megabytes: other work gets its turn in between. */
export async function jsonShape(text: string, maxDepth: number): Promise<JsonShape> {
  let pieceEnd = pieceLength;
  /** The names so far of each open object; undefined for a list. */
  const open: (Set<string> | undefined)[] = [];
  for (let at = 0; at < text.length; at += 1) {
    if (at >= pieceEnd) {
      await setImmediate();
      pieceEnd = at + pieceLength;
    }
    const character = text[at];
    if (character === '"') {
      const end = endOfString(text, at);
      const names = open.at(-1);
      if (names !== undefined && isName(text, end)) {
        const name = nameIn(text.slice(at, end + 1));
        if (names.has(name)) return 'repeated_name';
        names.add(name);
      }
      at = end;
    } else if (character === '{' || character === '[') {
      open.push(character === '{' ? new Set() : undefined);
      if (open.length > maxDepth) return 'too_deep';
    } else if (character === '}' || character === ']') open.pop();
  }
  return 'sound';
}

function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at += 1) {
    if (text[at] === '\\') at += 1;
    else if (text[at] === '"') return at;
  }
  return text.length;
}

/** Returns whether a colon follows. */
function isName(text: string, end: number): boolean {
  let at = end + 1;
  while (text[at] === ' ' || text[at] === '\t' || text[at] === '\n' || text[at] === '\r') at += 1;
  return text[at] === ':';
}

function nameIn(quoted: string): string {
  return quoted.includes('\\') ? (JSON.parse(quoted) as string) : quoted.slice(1, -1);
}
