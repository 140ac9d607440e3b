// Recognizes a file of jobs and prepares it for sending.
import { bundleMark, type ImportFormat, limits } from '@opsconductor/protocol';
import { byteSize } from '../../format/quantity.ts';

/** Number of bytes from the start of a file that are enough to recognize it. */
export const beginningBytes = 65_536;

/** Guesses the format of a file from its beginning; undefined if it can't be told. */
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
