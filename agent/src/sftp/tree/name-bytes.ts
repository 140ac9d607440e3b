// File names are bytes. Inside the agent they are text in which a lone surrogate (U+DC80 to U+DCFF, as in Python)
// stands for each byte that is not valid UTF-8, so that every name can be converted back exactly.

const rawByte = /[\udc80-\udcff]/u;
const firstRaw = 0xdc00;

/** Returns whether a name, path or script is plain text, with no stand-ins for bytes. */
export function isText(text: string): boolean {
  return !rawByte.test(text);
}

/** Converts bytes to a name. */
export function nameOf(bytes: Buffer): string {
  const text = bytes.toString('utf8');
  // Invalid UTF-8 is decoded to U+FFFD, but so is a real U+FFFD, which has valid bytes.
  if (!text.includes('\ufffd')) return text;
  let name = '';
  for (let at = 0; at < bytes.length; ) {
    const character = characterAt(bytes, at);
    name += character ?? String.fromCharCode(firstRaw + (bytes[at] ?? 0));
    at += character === undefined ? 1 : Buffer.byteLength(character);
  }
  return name;
}

/** Converts a name, or any text that contains names, to its bytes. */
export function bytesOf(text: string): Buffer {
  if (isText(text)) return Buffer.from(text);
  return Buffer.concat(
    Array.from(text, (character) => {
      const code = character.codePointAt(0) ?? 0;
      return rawByte.test(character) ? Buffer.of(code - firstRaw) : Buffer.from(character);
    }),
  );
}

/** Returns a path for Node's functions: as bytes if it is not plain text. */
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
