// Names of files are bytes. Inside the agent they are text in which a lone surrogate (U+DC80 to U+DCFF, as Python has it)
// stands for each byte that is no UTF-8, so that every name goes back as it came.

const rawByte = /[\udc80-\udcff]/u;
const firstRaw = 0xdc00;

/** Whether a name, a path or a script says all of its bytes as text. */
export function isText(text: string): boolean {
  return !rawByte.test(text);
}

/** The name that the bytes are. */
export function nameOf(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  // What is no UTF-8 becomes this; so does the character itself, which has bytes of its own.
  if (!text.includes('\ufffd')) return text;
  let name = '';
  for (let at = 0; at < bytes.length; ) {
    const character = characterAt(bytes, at);
    name += character ?? String.fromCharCode(firstRaw + (bytes[at] ?? 0));
    at += character === undefined ? 1 : Buffer.byteLength(character);
  }
  return name;
}

/** The bytes of a name, or of any text that has names in it. */
export function bytesOf(text: string): Buffer {
  if (isText(text)) return Buffer.from(text);
  return Buffer.concat(
    Array.from(text, (character) => {
      const code = character.codePointAt(0) ?? 0;
      return rawByte.test(character) ? Buffer.of(code - firstRaw) : Buffer.from(character);
    }),
  );
}

/** As Node takes a path: bytes where it has any that are no text. */
export function pathBytes(path: string): string | Buffer {
  return isText(path) ? path : bytesOf(path);
}

function characterAt(bytes: Buffer, at: number): string | undefined {
  const first = bytes[at] ?? 0;
  const length = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  const piece = bytes.subarray(at, at + length);
  const text = piece.toString('utf8');
  return Buffer.from(text).equals(piece) ? text : undefined;
}
