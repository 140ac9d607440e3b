// A file of jobs as a person gives it: what it is, and how it is sent.
import { bundleMark, type ImportFormat, limits } from '@opsconductor/protocol';
import { byteSize } from '../../format/quantity.ts';

/** So much of a file tells what it is. */
export const beginningBytes = 65_536;

/** What a file is, by its beginning; undefined where there is nothing to tell it by. */
export function guessImportFormat(beginning: string): ImportFormat | undefined {
  if (new RegExp(`["']?format["']?\\s*:\\s*["']?${bundleMark}\\b`).test(beginning)) return 'bundle';
  const isList = /^(?:\s|#.*\n|---.*\n)*(?:-\s|\[)/.test(beginning);
  const hasRundeckKey =
    /["']?\b(?:sequence|loglevel|scheduleEnabled|executionEnabled|nodefilters|nodeFilterEditable)["']?\s*:/;
  return isList && hasRundeckKey.test(beginning) ? 'rundeck' : undefined;
}

export function contentTypeOf(beginning: string): 'application/json' | 'application/yaml' {
  return /^\s*[[{]/.test(beginning) ? 'application/json' : 'application/yaml';
}

export function fileProblem(file: Pick<Blob, 'size'>): string | undefined {
  if (file.size === 0) return 'The file is empty.';
  if (file.size <= limits.maxBundleBytes) return undefined;
  return `The file has ${byteSize(file.size)}; ${byteSize(limits.maxBundleBytes)} at most can be imported at once.`;
}
