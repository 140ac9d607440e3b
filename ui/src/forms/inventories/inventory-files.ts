// The files of an inventory as a person provides them: which ones belong to it, their paths there, and the format.
import { type InventoryFile, type InventoryFormat, limits } from '@opsconductor/protocol';

export type FileFormat = Exclude<InventoryFormat, 'api'>;

/**
 * Makes paths relative to the inventory's folder, and leaves out hidden files and those that an inventory doesn't use.
 */
export function tidyFiles(files: readonly InventoryFile[]): InventoryFile[] {
  const kept = files
    .map(({ path, content }) => ({ path: path.replace(/^(?:\.?\/)+/, ''), content }))
    .filter(
      ({ path }) =>
        path !== '' &&
        !path.split('/').some((part) => part.startsWith('.')) &&
        !/~$|\.(?:orig|bak|retry|pyc)$/.test(path),
    );
  const tops = new Set(kept.map(({ path }) => (path.includes('/') ? path.slice(0, path.indexOf('/')) : '')));
  const [top] = tops;
  // A dropped folder is not part of the paths inside it.
  const isFolder = tops.size === 1 && top !== undefined && top !== '' && !isVariables(`${top}/`);
  return isFolder
    ? tidyFiles(kept.map(({ path, content }) => ({ path: path.slice(top.length + 1), content })))
    : kept;
}

function isVariables(path: string): boolean {
  return /(?:^|\/)(?:group_vars|host_vars)\//.test(path);
}

/** Returns the format of the files, leaving aside variable files; undefined if it can't be told. */
export function guessFormat(files: readonly InventoryFile[]): FileFormat | undefined {
  const main = files.find(({ path }) => !isVariables(path));
  if (main === undefined) return undefined;
  const name = main.path.toLowerCase();
  const text = main.content.trimStart();
  if (/\.(?:csv|tsv)$/.test(name)) return 'csv';
  if (name.endsWith('.json') || text.startsWith('{')) return 'ansible_json';
  if (/\.ya?ml$/.test(name) || text.startsWith('---')) return 'ansible_yaml';
  const line = firstLine(text);
  if (guessDelimiter(text) !== undefined && /(?:^|[,;\t"])name(?:$|[,;\t"])/i.test(line)) return 'csv';
  if (/^[A-Za-z_][\w.-]*:\s*$/.test(line)) return 'ansible_yaml';
  return text === '' ? undefined : 'ansible_ini';
}

/** Returns the name to propose for an inventory: that of its file; empty if that says nothing about it. */
export function nameFor(files: readonly InventoryFile[]): string {
  const [main, ...more] = files.filter(({ path }) => !isVariables(path));
  if (main === undefined || more.length > 0) return '';
  const name = main.path.replace(/^.*\//, '').replace(/\.[A-Za-z]+$/, '');
  return name === 'pasted' ? '' : name.slice(0, 100);
}

const delimiters = [',', ';', '\t'] as const;
/** Returns the delimiter that the header of a CSV file uses. */
export function guessDelimiter(content: string): (typeof delimiters)[number] | undefined {
  const line = firstLine(content.trimStart());
  const counted = delimiters
    .map((one) => ({ one, count: line.split(one).length - 1 }))
    .toSorted((a, b) => b.count - a.count);
  return counted[0] !== undefined && counted[0].count > 0 ? counted[0].one : undefined;
}

function firstLine(text: string): string {
  return (
    text.split(/\r?\n/).find((line) => line.trim() !== '' && !line.trim().startsWith('#')) ?? ''
  ).trim();
}

/** Returns why these files can't be sent, or undefined if they can. */
export function filesProblem(files: readonly InventoryFile[]): string | undefined {
  if (files.length > limits.maxInventoryFiles) {
    return `These are ${files.length.toLocaleString('en-US')} files; an inventory has at most ${limits.maxInventoryFiles.toLocaleString('en-US')}. Choose its folder, not a parent folder.`;
  }
  const bytes = files.reduce((sum, { content }) => sum + content.length, 0);
  if (bytes > limits.maxInventoryBytes) {
    return `These are ${Math.ceil(bytes / 1_048_576)} MB; an import takes ${limits.maxInventoryBytes / 1_048_576} MB.`;
  }
  const binary = files.find(({ content }) => content.includes('\u0000'));
  return binary === undefined ? undefined : `${binary.path} is not a text file. Leave it out.`;
}

/** Adds files, replacing existing ones with the same path. */
export function withFiles(before: readonly InventoryFile[], more: readonly InventoryFile[]): InventoryFile[] {
  const byPath = new Map([...before, ...more].map((file) => [file.path, file]));
  return [...byPath.values()].toSorted(
    (a, b) => Number(isVariables(a.path)) - Number(isVariables(b.path)) || a.path.localeCompare(b.path),
  );
}
