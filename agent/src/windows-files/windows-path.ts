// Paths of Windows as a transfer goes through them: with slashes, which no name there can have in it.
import { isText } from '../sftp/tree/name-bytes.ts';
import { shownPath } from '../sftp/tree/shown-path.ts';
import { TransferError } from '../sftp/tree/transfer-error.ts';

/** Without the prefix for long ones, programs take no more. */
const plainLength = 240;

/** `C:/` or `//server/share/`, and the names below it. */
export function partsOfWindowsPath(path: string): { root: string; parts: string[] } {
  const slashed = path.replaceAll('\\', '/');
  // Of no device, as \\.\ and \\?\ name them.
  const root = /^(?:[A-Za-z]:\/|\/\/[^/?.][^/]*\/[^/]+(?:\/|$))/.exec(slashed)?.[0];
  if (root === undefined) {
    throw refused(
      `${path.slice(0, 300)} is no absolute path of Windows.`,
      'Begin it with a drive, as C:\\, or with \\\\server\\share.',
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

/** As people write it. */
export function windowsPath(path: string): string {
  return path.replaceAll('/', '\\');
}

/** As the host is asked for it. */
export function askedPath(path: string): string {
  const plain = windowsPath(path);
  if (plain.length < plainLength) return plain;
  return plain.startsWith('\\\\') ? `\\\\?\\UNC\\${plain.slice(2)}` : `\\\\?\\${plain}`;
}

/** Windows reads `a:b` as a stream of `a`, drops dots and blanks at the end, and has devices in every directory. */
export function requireWindowsName(name: string): void {
  const shown = shownPath(name).slice(0, 300);
  if (!isText(name)) throw refused(`${shown} is no text, which every name on Windows is.`, rename);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what Windows forbids
  const letter = /[\u0000-\u001f<>:"/\\|?*]/.exec(name)?.[0];
  if (letter !== undefined) {
    throw refused(`${shown} has ${JSON.stringify(letter)} in it, which no name on Windows may.`, rename);
  }
  if (/[. ]$/.test(name)) {
    throw refused(`${shown} ends with a dot or a blank, which Windows would leave out.`, rename);
  }
  if (/^(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])(\.|$)/i.test(name)) {
    throw refused(`${shown} is the name of a device on Windows.`, rename);
  }
}

const rename = 'Rename it, or leave it out with exclude.';

function refused(message: string, advice: string): TransferError {
  return new TransferError({ reason: 'path_refused', message, advice });
}
