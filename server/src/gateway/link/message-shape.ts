// Checks a text frame of an agent before it is parsed: four megabytes of brackets or numbers would block the event loop
// for seconds. Strings, of which large messages consist, take only milliseconds.

/** Brackets and commas: twice as many as when an agent reports everything it holds after reconnecting. */
const maxValues = 50_000;
/** Bytes outside strings: numbers, punctuation, and spaces, which agents don't send. */
const maxBareBytes = 512 * 1024;
const maxDepth = 64;

const [quote, backslash, comma, openList, openObject, closeList, closeObject] = Buffer.from('"\\,[{]}');

/** Whether a frame is worth parsing. Doesn't tell whether it is JSON. */
export function isModest(frame: Uint8Array): boolean {
  let values = 0;
  let depth = 0;
  let bare = 0;
  for (let at = 0; at < frame.length; at++) {
    const byte = frame[at];
    bare += 1;
    if (byte === quote) at = endOfString(frame, at);
    else if (byte === comma) values += 1;
    else if (byte === openList || byte === openObject) {
      values += 1;
      depth += 1;
    } else if (byte === closeList || byte === closeObject) depth -= 1;
    if (values > maxValues || bare > maxBareBytes || depth > maxDepth) return false;
  }
  return true;
}

/** Returns the position of the closing quote, or the end of the frame. */
function endOfString(frame: Uint8Array, from: number): number {
  let at = from + 1;
  while (at < frame.length && frame[at] !== quote) at += frame[at] === backslash ? 2 : 1;
  return at;
}
