// Paths in a definition: `steps[2].config.environment["a b"]` as the server writes them, and as an array of parts.

export type PathPart = string | number;
export type Path = readonly PathPart[];

export function parsePath(text: string): PathPart[] {
  const parts: PathPart[] = [];
  const part = /\.?([^.[\]]+)|\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]/gy;
  for (let found = part.exec(text); found !== null; found = part.exec(text)) {
    if (found[2] !== undefined) parts.push(Number(found[2]));
    else if (found[3] !== undefined) parts.push(JSON.parse(found[3]) as string);
    else parts.push(found[1] ?? '');
  }
  return parts;
}

export function printPath(path: Path): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else if (!/^[\w-]+$/.test(part)) text += `[${JSON.stringify(part)}]`;
    else text += text === '' ? part : `.${part}`;
  }
  return text;
}

/** Returns whether a path is the same as another one or inside it. */
export function isWithin(path: Path, outer: Path): boolean {
  return outer.length <= path.length && outer.every((part, at) => part === path[at]);
}

export function valueAt(root: unknown, path: Path): unknown {
  let at = root;
  for (const part of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, part)) return undefined;
    at = (at as Record<PathPart, unknown>)[part];
  }
  return at;
}
