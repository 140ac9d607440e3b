// Describes in words what the patterns in our schemas allow, for texts and for names in objects with free names.
import { identifierPattern } from './api/jobs/parameters.ts';
import { lockNamePattern, percentPattern } from './api/runs/strategy.ts';
import { hostPattern, labelNamePattern, reservedLabelNames } from './api/targets/targets.ts';
import { reservedNames } from './parameters/reserved-names.ts';
import {
  agentPathPattern,
  fileNamePattern,
  machinePathPattern,
  noNulPattern,
  pointerPattern,
  posixDirectoryPattern,
  posixUserPattern,
  posixVariablePattern,
  programPattern,
  targetPathPattern,
  windowsDirectoryPattern,
  windowsPathPattern,
  windowsVariablePattern,
} from './steps/patterns.ts';

interface Form {
  /** Completes the sentence “Must be …”. */
  text: string;
  /** For some forms: suggests the nearest valid text. */
  nearest?(given: string): string;
}

const identifier: Form = {
  text: 'a letter or underscore, then letters of the alphabet, digits and underscores, at most 64 characters',
  nearest: (given) => given.replace(/^\d/, '_$&').replaceAll(/\W+/g, '_').slice(0, 64),
};

const forms: Record<string, Form> = {
  [identifierPattern]: identifier,
  [posixVariablePattern]: {
    text: 'a letter or underscore, then letters, digits and underscores',
    nearest: (given) => given.replace(/^\d/, '_$&').replaceAll(/\W+/g, '_'),
  },
  [windowsVariablePattern]: { text: 'text without =, of 1 to 255 characters' },
  [labelNamePattern]: {
    text: `letters, digits, dots, slashes, hyphens and underscores, a letter or digit first and last, and none of the words of selectors: ${reservedLabelNames.join(', ')}`,
    nearest: (given) => given.replaceAll(/[^A-Za-z0-9_./-]+/g, '-').replace(/^[_./-]+|[_./-]+$/g, ''),
  },
  [hostPattern]: {
    text: 'a host name or an IP address alone (IPv4: four numbers of 0 to 255): the port and the user have fields of their own',
    nearest: (given) =>
      given
        .replace(/^\w+:\/\//, '')
        .replace(/^.*@/, '')
        .replace(/^\[(.*)\](:\d+)?$/, '$1')
        .replace(/^([^:]+):\d*$/, '$1'),
  },
  [lockNamePattern]: {
    text: 'letters, digits, `.`, `_` and `-`, a letter or digit first, at most 63 characters',
    nearest: (given) => given.replaceAll(/[^A-Za-z0-9._-]+/g, '-').replace(/^[._-]+/, ''),
  },
  [percentPattern]: { text: 'a number, or a percentage up to 100% such as `10%`' },
  [posixDirectoryPattern]: {
    text: 'an absolute path, such as /var/tmp; `~` and relative paths are not supported',
  },
  [machinePathPattern]: { text: 'an absolute path, such as /etc/opsconductor-agent/deploy-key' },
  [agentPathPattern]: { text: 'an absolute path, such as /srv/files/app.tar, without `..` in it' },
  [targetPathPattern]: {
    text: 'an absolute path, such as /opt/app, or one in the home directory, such as ~/app, without `..` in it',
  },
  [windowsDirectoryPattern]: { text: 'an absolute path, such as C:\\temp or \\\\server\\share' },
  [windowsPathPattern]: {
    text: 'an absolute path, such as C:\\temp or \\\\server\\share\\dir, without `..` in it',
  },
  [fileNamePattern]: {
    text: 'the name of a file, such as app-1.4.tar, without slashes and control characters',
  },
  [programPattern]: {
    text: 'the name or the absolute path of one program, such as python3 or /opt/bin/ruby, without arguments',
  },
  [posixUserPattern]: {
    text: 'the name of a user: a letter or underscore, then letters, digits, dots, hyphens and underscores',
  },
  [pointerPattern]: {
    text: 'a JSON pointer: empty for the whole document, or a slash before each name, such as /items/0/version',
  },
};

/** Returns the sentence about a text that its pattern refuses; `undefined` for a pattern without a description. */
export function formSentence(pattern: unknown, text: string): string | undefined {
  if (typeof pattern !== 'string') return undefined;
  const nul = text.indexOf('\0');
  if (nul >= 0 && pattern.includes('\\u0000')) {
    return `Has NUL (U+0000) as character ${[...text.slice(0, nul)].length + 1}, which no command or file accepts; remove it.`;
  }
  const form = Object.hasOwn(forms, pattern) ? forms[pattern] : undefined;
  return form === undefined ? undefined : `Must be ${form.text}${instead(form, pattern, text)}.`;
}

/** Returns the pattern of the names in an object with free names; `undefined` if its property names are fixed. */
export function nameForm(schema: Readonly<Record<string, unknown>>): string | undefined {
  const [pattern, more] = Object.keys(Object(schema.patternProperties));
  const isFree = more === undefined && Object.keys(Object(schema.properties)).length === 0;
  return isFree && pattern !== undefined && Object.hasOwn(forms, pattern) ? pattern : undefined;
}

/** Returns the sentence about a name that doesn't match the form. */
export function nameSentence(pattern: string, given: string): string {
  if (given === '') return 'Has no name; give it one.';
  if (pattern === labelNamePattern && (reservedLabelNames as readonly string[]).includes(given)) {
    return `${given} is a keyword of selectors and can’t be the name of a label; choose another one.`;
  }
  const form = forms[pattern];
  return form === undefined
    ? 'Is not a valid name.'
    : `Is not a valid name here${instead(form, pattern, given)}.`;
}

/** Describes the names that are allowed. */
export function nameWords(pattern: string): string | undefined {
  const text = forms[pattern]?.text;
  return text === undefined || forms[pattern] !== identifier
    ? text
    : `${text}; none of ${[...reservedNames].join(', ')}`;
}

/** Whether a pattern only excludes NUL, which isn't worth mentioning. */
export function isPlain(pattern: unknown): boolean {
  return pattern === noNulPattern;
}

function instead({ nearest }: Form, pattern: string, given: string): string {
  const near = nearest?.(given) ?? '';
  const fits = near !== '' && near !== given && new RegExp(pattern, 'u').test(near) && !/^_+$/.test(near);
  return fits ? `; write ${near}` : '';
}
