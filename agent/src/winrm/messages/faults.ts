// Explains a host's faults by their code. They come in two forms: WSManFault, and MSFT_WmiError for some of the quotas.

import { cutText } from '../../cut-text.ts';
import { rightsAdvice, WinrmError, type WinrmErrorKind } from '../winrm-error.ts';
import { namespaces } from './namespaces.ts';
import { allOf, childOf, type XmlElement } from './xml.ts';

interface KnownFault {
  kind: WinrmErrorKind;
  advice: string;
  /** A host that replies with this to the start of a command has not begun it. */
  notExecuted?: true;
}

const pollAgain: KnownFault = { kind: 'poll_again', advice: 'Ask again.' };
const shellGone: KnownFault = {
  kind: 'shell_gone',
  advice:
    'Something on the host ended the shell: a restart of WinRM, a quota, or a reboot. Look at what the command did.',
};
const quota: KnownFault = {
  kind: 'quota',
  notExecuted: true,
  advice:
    'Raise the quota on the host (winrm get winrm/config/winrs shows MaxShellsPerUser and MaxMemoryPerShellMB, winrm/config/service MaxConcurrentOperationsPerUser), or run fewer steps there at a time.',
};

const denied: KnownFault = {
  kind: 'not_authorized',
  notExecuted: true,
  advice: rightsAdvice,
};

/** What the shell's own program (winrscmd.dll) says about input on hosts under load. */
export const faultCodes = { busy: 170, timeout: 1460 } as const;

const known: Readonly<Record<number, KnownFault>> = {
  2150858793: pollAgain,
  // No shell of that name: nothing can have been begun in it. The others may come after the host has begun.
  2150858843: { ...shellGone, notExecuted: true },
  // The user's part of the registry was unloaded under the shell.
  2147943418: shellGone,
  995: shellGone,
  [faultCodes.busy]: {
    kind: 'fault',
    advice:
      'The host is busy with what it was given before: look at its load, and whether the command reads its input.',
  },
  2150859173: quota,
  2150859174: quota,
  5: denied,
  2147942405: denied,
  2147942667: {
    kind: 'bad_directory',
    notExecuted: true,
    advice: 'Create the directory on the host, or correct the step’s working_directory.',
  },
  2147942402: {
    kind: 'fault',
    advice: 'Check that the program is installed on the host.',
    notExecuted: true,
  },
  2147942606: { kind: 'fault', advice: 'Shorten the command line.', notExecuted: true },
};

/** Converts a SOAP fault to an error. */
export function faultOf(fault: XmlElement): WinrmError {
  const text = reasonOf(fault);
  const code = codeOf(fault);
  const subcode = childOf(
    childOf(childOf(fault, namespaces.soap, 'Code'), namespaces.soap, 'Subcode'),
    namespaces.soap,
    'Value',
  )?.text.trim();
  const {
    kind,
    advice,
    notExecuted = false,
  } = (code === undefined ? undefined : known[code]) ??
    bySubcode(subcode) ?? {
      kind: 'fault' as const,
      advice:
        'Look up the code in the documentation of WinRM, and check the host’s event log (Windows Remote Management).',
    };
  const named = code === undefined ? '' : ` (fault ${code}, 0x${(code >>> 0).toString(16).toUpperCase()})`;
  return new WinrmError({
    kind,
    message: `The host refused the request: ${text}${named}`,
    advice,
    notExecuted,
    ...(code === undefined ? {} : { code }),
  });
}

function bySubcode(subcode: string | undefined): KnownFault | undefined {
  switch (subcode?.slice(subcode.indexOf(':') + 1)) {
    case 'QuotaLimit':
      return quota;
    case 'TimedOut':
      return pollAgain;
    case 'AccessDenied':
      return denied;
    default:
      return undefined;
  }
}

function codeOf(fault: XmlElement): number | undefined {
  const detail = childOf(fault, namespaces.soap, 'Detail');
  if (detail === undefined) return undefined;
  for (const { name, attributes, text } of allOf(detail)) {
    const found = name === 'WSManFault' ? attributes.get('Code') : name === 'error_Code' ? text : undefined;
    if (found !== undefined && /^\s*\d{1,10}\s*$/.test(found)) return Number(found);
  }
  return undefined;
}

const maxText = 1_000;

/** The host's own words, in one line. */
function reasonOf(fault: XmlElement): string {
  const reason = childOf(childOf(fault, namespaces.soap, 'Reason'), namespaces.soap, 'Text')?.text ?? '';
  const messages = [...allOf(fault)]
    .filter(({ name }) => name === 'Message' || name === 'error_WindowsErrorMessage')
    .map(({ text }) => text);
  const text = [reason, ...messages]
    .map((each) => each.replaceAll(/\s+/g, ' ').trim())
    .find((each) => each !== '');
  return text === undefined ? 'it gave no reason.' : cutText(text, maxText);
}
