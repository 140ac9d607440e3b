// Everything that the documentation refers to exists: files and folders of code, and the pages, headings and files that
// it links to. In the code's own texts, commands that they tell people to type must exist.
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '..');
const files = filesBelow('');
const pages = new Map(
  files
    .filter((name) => /^(docs\/.*|[A-Z]+)\.md$/.test(name))
    .map((name) => [name, readFileSync(join(root, name), 'utf8')] as const),
);

/** Files that a server hands out, and a folder of an agent's data. */
const notOurs = new Set(['agent.mjs', '/agent.mjs', 'cache/']);

/** Recognizes a file by its extension, and a folder by its slash or by the package at its beginning. */
const codePath =
  /^(?=[\w./{},*<>-]+$)(?:.*[\w}*>]\.(?:ts|mjs|svelte|sql)|[a-z][\w./{},-]*\/|(?:agent|server|protocol|ui|test|bench|scripts|migrations)\/.+)$/;

const folders = new Set(files.flatMap((name) => [...ancestors(name)]));

test('each path of code that the documentation names exists', () => {
  const named = [...pages].flatMap(([page, text]) =>
    [...text.matchAll(/`([^`\s]+)`/g)].map(([, path = '']) => ({ page, path })),
  );
  const paths = named.filter(({ path }) => codePath.test(path) && !notOurs.has(path));
  expect(paths.length).toBeGreaterThan(400);
  expect(paths.filter(({ path }) => !isThere(path)).map(({ page, path }) => `${page}: ${path}`)).toEqual([]);
});

test('each link of the documentation leads to an existing file, and to an existing heading if it names one', () => {
  const dead: string[] = [];
  for (const [page, text] of pages)
    for (const [, link = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(link)) continue;
      const [path = '', heading] = link.split('#');
      const target = path === '' ? page : posix.join(posix.dirname(page), path);
      const found = files.includes(target) || folders.has(target);
      const headings = heading === undefined ? undefined : headingsOf(pages.get(target) ?? '');
      if (!found || headings?.includes(heading ?? '') === false) dead.push(`${page}: ${link}`);
    }
  expect(dead).toEqual([]);
});

test('no text tells people to type a command that is on nobody’s PATH', () => {
  const sources = files.filter((name) =>
    /^(agent|server|protocol|ui)\/.*(?<!\.test)\.(ts|svelte)$/.test(name),
  );
  expect(sources.length).toBeGreaterThan(400);
  const owners = /\bopsconductor (key|grant|segment|recovery)\b/;
  expect(sources.filter((name) => owners.test(readFileSync(join(root, name), 'utf8')))).toEqual([]);
});

function filesBelow(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    if (entry.name.startsWith('.') || entry.name === 'node_modules' || entry.name === 'dist') return [];
    const name = posix.join(folder, entry.name);
    return entry.isDirectory() ? filesBelow(name) : [name];
  });
}

/** Pages omit folders that are obvious from their subject, so a path may begin at any folder. */
function isThere(path: string): boolean {
  return alternatives(path.replace(/\/$/, '')).every((one) => {
    const pattern = one
      .replaceAll('.', '\\.')
      .replaceAll(/<[^>]+>/g, '[^/]+')
      .replaceAll(/\*\*\/|\*/g, (stars) => (stars === '*' ? '[^/]*' : '(?:.*/)?'));
    const expression = new RegExp(`(?:^|/)${pattern}$`);
    return [...files, ...folders].some((name) => expression.test(name));
  });
}

function alternatives(path: string): string[] {
  const [, before = '', inner, after = ''] = /^([^{]*)\{([^}]*)\}(.*)$/.exec(path) ?? [];
  if (inner === undefined) return [path];
  return inner.split(',').flatMap((one) => alternatives(`${before}${one}${after}`));
}

function* ancestors(name: string): Generator<string> {
  for (let folder = posix.dirname(name); folder !== '.'; folder = posix.dirname(folder)) yield folder;
}

function headingsOf(text: string): string[] {
  return text
    .replaceAll(/^```.*?^```/gms, '')
    .split('\n')
    .filter((line) => /^#+ /.test(line))
    .map((line) =>
      line
        .replace(/^#+ /, '')
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    );
}
