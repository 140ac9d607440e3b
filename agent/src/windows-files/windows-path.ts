// Windows paths as transfers use them: with slashes, which can't occur in a name on Windows.
import { cutText } from '../cut-text.ts';
import { isText } from '../sftp/tree/name-bytes.ts';
import { shownPath } from '../sftp/tree/shown-path.ts';
import { TransferError } from '../sftp/tree/transfer-error.ts';

/** Longer paths need the prefix for long paths. */
const plainLength = 240;

/** Splits a path into its root, `C:/` or `//server/share/`, and the names below it. */
export function partsOfWindowsPath(path: string): { root: string; parts: string[] } {
  const slashed = path.replaceAll('\\', '/');
  // Excludes device paths, which begin with \\.\ or \\?\.
  const root = /^(?:[A-Za-z]:\/|\/\/[^/?.][^/]*\/[^/]+(?:\/|$))/.exec(slashed)?.[0];
  if (root === undefined) {
    throw refused(
      `${cutText(path, 300)} is not an absolute Windows path.`,
      'Begin it with a drive, such as C:\\, or with \\\\server\\share.',
    );
  }
  const parts = slashed
    .slice(root.length)
    .split('/')
    .filter((part) => part !== '' && part !== '.');
  for (const part of parts) requireWindowsName(part);
  return { root: root.endsWith('/') ? root : `${root}/`, parts };
}

export function joined(path: string, name: string): string {
  return path.endsWith('/') ? path + name : `${path}/${name}`;
}

/** Returns a path as people write it. */
export function windowsPath(path: string): string {
  return path.replaceAll('/', '\\');
}

/** Returns a path as it is sent to the host, with the prefix for long paths if needed. */
export function askedPath(path: string): string {
  const plain = windowsPath(path);
  if (plain.length < plainLength) return plain;
  return plain.startsWith('\\\\') ? `\\\\?\\UNC\\${plain.slice(2)}` : `\\\\?\\${plain}`;
}

/**
 * Throws if a name is not a plain file name on Windows, which reads `a:b` as a stream of `a`, drops dots and spaces at
 * the end, and has device names in every directory.
 */
export function requireWindowsName(name: string): void {
  const shown = cutText(shownPath(name), 300);
  if (!isText(name)) throw refused(`${shown} is not valid text, as names on Windows must be.`, rename);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what Windows forbids
  const letter = /[\u0000-\u001f<>:"/\\|?*]/.exec(name)?.[0];
  if (letter !== undefined) {
    throw refused(
      `${shown} contains ${JSON.stringify(letter)}, which is not allowed in names on Windows.`,
      rename,
    );
  }
  if (/[. ]$/.test(name)) {
    throw refused(`${shown} ends with a dot or a space, which Windows would drop.`, rename);
  }
  if (/^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])(\.|$)/i.test(name)) {
    throw refused(`${shown} is the name of a device on Windows.`, rename);
  }
}

const rename = 'Rename it, or leave it out with exclude.';

function refused(message: string, advice: string): TransferError {
  return new TransferError({ reason: 'path_refused', message, advice });
}
