// Looks for secrets in anything that was written. The redactor looks for spellings, while this undoes encodings, so
// that one finds what the other has forgotten.

export interface Found {
  secret: string;
  as: string;
}

/** A shorter line of a secret reveals nothing of it. */
const minLineBytes = 8;

interface Needle {
  secret: string;
  bytes: Buffer;
  as: string;
}

/** Shorter needles reveal nothing. This many bytes of each are looked up at every place. */
const headBytes = 4;

/** Looks for all needles at every place, by a plain table of their first bytes. It shares no code with the redactor. */
class Needles {
  readonly #byHead = new Map<number, Needle[]>();

  add(needle: Needle): void {
    if (needle.bytes.length < headBytes) return;
    const head = needle.bytes.readUInt32LE(0);
    const others = this.#byHead.get(head);
    if (others === undefined) this.#byHead.set(head, [needle]);
    else others.push(needle);
  }

  *in(hay: Buffer): Generator<Needle> {
    for (let at = 0; at + headBytes <= hay.length; at++) {
      for (const needle of this.#byHead.get(hay.readUInt32LE(at)) ?? []) {
        if (
          hay.compare(
            needle.bytes,
            0,
            needle.bytes.length,
            at,
            Math.min(at + needle.bytes.length, hay.length),
          ) === 0
        )
          yield needle;
      }
    }
  }
}

export class SecretHunter {
  readonly #plain = new Needles();
  readonly #hex = new Needles();
  readonly #base64 = new Needles();

  constructor(secrets: readonly string[]) {
    for (const secret of secrets) {
      const lines = secret.split(/\r?\n/).filter((line) => Buffer.byteLength(line) >= minLineBytes);
      // In a path, the directories of a secret with slashes reveal it.
      this.#plain.add({ secret, bytes: Buffer.from(secret.trim()), as: 'itself without blanks around it' });
      for (const part of secret.split('/').filter((each) => Buffer.byteLength(each) >= minLineBytes))
        this.#plain.add({ secret, bytes: Buffer.from(part), as: 'a part of itself' });
      // The lines that frame a key are the same for all keys.
      for (const text of new Set([secret, ...lines.filter((line) => !line.startsWith('-----'))])) {
        const utf8 = Buffer.from(text);
        this.#plain.add({ secret, bytes: utf8, as: 'itself' });
        this.#hex.add({ secret, bytes: Buffer.from(utf8.toString('hex')), as: 'hex' });
        for (const [bytes, as] of [
          [utf8, 'base64'],
          [Buffer.from(text, 'utf16le'), 'base64 of UTF-16'],
        ] as const) {
          for (const core of cores(bytes)) this.#base64.add({ secret, bytes: Buffer.from(core), as });
        }
      }
    }
  }

  /** Returns each secret that occurs, once, with the encoding in which it was found. */
  find(written: string | Buffer): Found[] {
    const raw = (typeof written === 'string' ? Buffer.from(written) : written).toString('latin1');
    const found = new Map<string, string>();
    const look = (needles: Needles, hay: string, within: string) => {
      for (const { secret, as } of needles.in(Buffer.from(hay, 'latin1'))) {
        if (!found.has(secret)) found.set(secret, `${as}${within}`);
      }
    };
    look(this.#plain, raw, '');
    for (const [view, name] of [
      [unescapeUrl(raw), ' in a URL'],
      [unescapeUrl(raw.replaceAll('+', ' ')), ' in a form'],
      [unescapeJson(raw), ' in JSON'],
      [unescapeJson(unescapeJson(raw)), ' in JSON in JSON'],
      [unescapeXml(raw), ' in XML'],
      [raw.replaceAll("'\\''", "'").replaceAll(`'"'"'`, "'"), ' in quotes of a shell'],
      [raw.replace(/\\([^nrt])/g, '$1'), ' with backslashes'],
      [unescapeCodes(raw, false), ' with codes of bytes'],
      [unescapeCodes(raw, true), ' with codes of letters'],
      [unescapeCarets(raw), ' with carets'],
      [raw.replaceAll("''", "'"), ' in doubled quotes'],
      [raw.replaceAll('""', '"'), ' in doubled quotes'],
      [ofUtf16(raw, 0), ' in UTF-16'],
      [ofUtf16(raw, 1), ' in UTF-16'],
      [raw.replace(/\r?\n/g, ''), ' in broken lines'],
    ] as const) {
      if (view !== raw) look(this.#plain, view, name);
    }
    look(this.#hex, raw.toLowerCase(), '');
    const joined = raw.replace(/[\r\n]/g, '');
    look(this.#base64, joined, '');
    look(this.#base64, joined.replaceAll('-', '+').replaceAll('_', '/'), ' for URLs');
    return [...found].map(([secret, as]) => ({ secret, as }));
  }
}

/** Returns what is certain in the base64 of any text that contains these bytes. */
function cores(bytes: Buffer): string[] {
  return [0, 1, 2].map((before) => {
    const after = (3 - ((before + bytes.length) % 3)) % 3;
    const all = Buffer.concat([Buffer.alloc(before), bytes, Buffer.alloc(after)]).toString('base64');
    // A character that shares bits with a neighbor is not certain.
    return all.slice(before === 0 ? 0 : before + 1, after === 0 ? undefined : -(after + 1));
  });
}

function unescapeUrl(text: string): string {
  return text.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

function ofUtf16(latin1: string, from: number): string {
  // Not a part of a Buffer: read from an odd address, long ones damage the memory of Node 24.21.
  const bytes = Buffer.from(latin1.slice(from), 'latin1');
  return Buffer.from(bytes.toString('utf16le')).toString('latin1');
}

const short: Record<string, string> = { n: '\n', r: '\r', t: '\t', b: '\b', f: '\f' };

function unescapeJson(text: string): string {
  return text.replace(/((?:\\u[0-9a-fA-F]{4})+)|\\([nrtbf"\\/])/g, (_, codes?: string, letter?: string) => {
    if (codes === undefined) return short[letter ?? ''] ?? letter ?? '';
    return Buffer.from(JSON.parse(`"${codes}"`) as string).toString('latin1');
  });
}

/** Undoes what shells, Python and Node.js write in quotes; `\\x` stands for a letter of Latin-1, or for a byte. */
function unescapeCodes(text: string, isLetter: boolean): string {
  const utf8 = (code: number) => Buffer.from(String.fromCodePoint(code)).toString('latin1');
  return text.replace(
    /\\(?:([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-f]{4})|U(000[0-9a-f]{5}|0010[0-9a-f]{4})|C-(.)|(.))/g,
    (_, octal, byte, four, eight, control, letter: string) => {
      const code = four ?? eight;
      if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8));
      if (code !== undefined) return utf8(Number.parseInt(code, 16));
      if (control !== undefined) return String.fromCharCode((control as string).charCodeAt(0) ^ 64);
      if (byte === undefined) return letter === 'E' ? '\u001b' : (short[letter] ?? letter);
      const number = Number.parseInt(byte, 16);
      return isLetter ? utf8(number) : String.fromCharCode(number);
    },
  );
}

function unescapeCarets(text: string): string {
  return text.replace(/(M-)?\^([@-_?])|M-([^^])/g, (_, meta, control, plain) => {
    const code = control === undefined ? plain.charCodeAt(0) : control.charCodeAt(0) ^ 64;
    return String.fromCharCode(code + (meta === undefined && plain === undefined ? 0 : 128));
  });
}

const named: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

function unescapeXml(text: string): string {
  return text.replace(
    /&(?:(amp|lt|gt|quot|apos)|#(\d{1,6})|#x([0-9a-fA-F]{1,5}));/g,
    (_, name, decimal, hex) => {
      if (name !== undefined) return named[name as string] ?? '';
      const code = decimal === undefined ? Number.parseInt(hex, 16) : Number(decimal);
      return Buffer.from(String.fromCodePoint(Math.min(code, 0x10ffff))).toString('latin1');
    },
  );
}
