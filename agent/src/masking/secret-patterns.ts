// The spellings under which a secret may appear in output: as it is, and as common tools would encode it.
import { limits } from '@opsconductor/protocol';
import type { OpenedCredential } from '../steps/step-type.ts';
import { minWrapWidth, type Pattern } from './comparison.ts';
import { escapedSpellings, quotedSpellings } from './secret-spellings.ts';

/** Shorter texts occur by chance: masking them would spoil the output, and the gaps would reveal the secret. */
const minSecretBytes = limits.minMaskedBytes;
const minKeyLineBytes = 8;
/** In a path, the directories of a secret with slashes reveal it. Shorter names could be anything. */
const minPathPartBytes = 8;
/**
 * Of a secret with more lines, the others are looked for as they are: each line in each spelling would take seconds to
 * prepare, and a target can hand on such a secret.
 */
const maxSpelledLines = 256;
/** The shortest spelling to look for: little of a short secret's encoding may be certain. */
const minPatternBytes = 4;

/** Returns everything to mask while this credential is used. */
export function secretPatterns(credential: OpenedCredential): Pattern[] {
  const { add, all } = spellings();
  if ('password' in credential) addText(credential.password, add);
  if ('keytab' in credential) addText(credential.keytab, add);
  if ('privateKey' in credential) {
    if (credential.passphrase !== undefined) addText(credential.passphrase, add);
    let spelled = 0;
    for (const line of credential.privateKey.split(/\r?\n/)) {
      // The lines that frame a key are the same for all keys, so they are no secret.
      if (line.length < minKeyLineBytes || line.startsWith('-----')) continue;
      if (++spelled > maxSpelledLines) add(Buffer.from(line));
      else addKeyLine(line, add);
    }
  }
  if ('becomePassword' in credential && credential.becomePassword !== undefined)
    addText(credential.becomePassword, add);
  return all();
}

/** Returns everything to mask for a secret value of a run. */
export function textPatterns(secret: string): Pattern[] {
  const { add, all } = spellings();
  addText(secret, add);
  return all();
}

/** Adds a spelling, and how many line ends may occur in it. */
type Add = (bytes: Buffer, maxLineEnds?: number) => void;

/** Collects spellings, each once. */
function spellings(): { add: Add; all(): Pattern[] } {
  const found = new Map<string, number>();
  return {
    add: (bytes, maxLineEnds = 0) => {
      const spelling = bytes.toString('latin1');
      if (bytes.length >= minPatternBytes)
        found.set(spelling, Math.max(maxLineEnds, found.get(spelling) ?? 0));
    },
    all: () =>
      [...found].map(([spelling, maxLineEnds]) => ({ bytes: Buffer.from(spelling, 'latin1'), maxLineEnds })),
  };
}

/** Adds a secret of one or more lines: each line by itself, and the whole. */
function addText(secret: string, add: Add): void {
  const whole = [secret, secret.trim()];
  const lines = secret.split(/\r?\n/);
  let spelled = 0;
  // Programs and shells drop blanks at the ends.
  for (const text of new Set([...whole, ...lines.flatMap((line) => [line, line.trim()])])) {
    const utf8 = Buffer.from(text);
    if (utf8.length < minSecretBytes) continue;
    if (++spelled > maxSpelledLines + whole.length) {
      add(utf8);
      continue;
    }
    addPlain(text, add);
    for (const spelling of [...escapedSpellings(text), ...quotedSpellings(text)]) add(Buffer.from(spelling));
    addHex(utf8, add);
    for (const bytes of [utf8, Buffer.from(text, 'utf16le')]) {
      for (const core of base64Cores(bytes)) addWrapped(core, add);
    }
    // When the text is encoded by itself, its last bits are certain too.
    for (const encoding of ['base64', 'base64url'] as const) add(Buffer.from(utf8.toString(encoding)));
  }
  for (const part of secret.split('/')) {
    if (Buffer.byteLength(part) >= minPathPartBytes) add(Buffer.from(part));
  }
}

/** Adds a line of a key. It is already base64, so escaping changes nothing that matters. */
function addKeyLine(line: string, add: Add): void {
  const utf8 = Buffer.from(line);
  addPlain(line, add);
  addHex(utf8, add);
  for (const bytes of [utf8, Buffer.from(line, 'utf16le')]) {
    for (const core of base64Cores(bytes)) addWrapped(core, add);
  }
}

/** Adds a text as it is, also in lines as PowerShell breaks its messages, and in the UTF-16 of Windows. */
function addPlain(text: string, add: Add): void {
  const utf8 = Buffer.from(text);
  // The lines of a text with several are added by themselves.
  add(utf8, /[\r\n]/.test(text) ? 0 : maxWraps(utf8.length));
  const utf16 = Buffer.from(text, 'utf16le');
  // Without a zero at its end, ASCII is the same in both orders of bytes.
  add(utf16.at(-1) === 0 ? utf16.subarray(0, -1) : utf16);
}

function addHex(bytes: Buffer, add: Add): void {
  const hex = bytes.toString('hex');
  addWrapped(hex, add);
  addWrapped(hex.toUpperCase(), add);
}

/** Returns what is certain in the base64 of any text that contains these bytes: one core for each of three offsets. */
export function base64Cores(bytes: Buffer): string[] {
  const cores: string[] = [];
  for (const offset of [0, 1, 2]) {
    const bits = bytes.length * 8;
    const encoded = Buffer.concat([Buffer.alloc(offset), bytes]).toString('base64');
    const firstWhole = Math.ceil((offset * 8) / 6);
    const wholeEnd = Math.floor((offset * 8 + bits) / 6);
    const core = encoded.slice(firstWhole, wholeEnd);
    cores.push(core);
    const urlSafe = core.replaceAll('+', '-').replaceAll('/', '_');
    if (urlSafe !== core) cores.push(urlSafe);
  }
  return cores;
}

/** Adds what encoders write in lines, however many there are. */
function addWrapped(encoded: string, add: Add): void {
  add(Buffer.from(encoded), maxWraps(encoded.length));
}

function maxWraps(length: number): number {
  return Math.floor(length / minWrapWidth) + 1;
}
