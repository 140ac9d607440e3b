// What a text frame of an agent is made of, looked at before it is parsed: four megabytes of brackets or numbers would
// keep the event loop for seconds, of strings, which large messages are made of, for milliseconds.

/** Brackets and commas: twice as many as what an agent tells of all it holds when it comes back. */
const maxValues = 50_000;
/** Bytes outside strings: numbers, punctuation, and spaces, of which agents send none. */
const maxBareBytes = 512 * 1024;
const maxDepth = 64;

const [quote, backslash, comma, openList, openObject, closeList, closeObject] = Buffer.from('"\\,[{]}');

/** Whether it is worth parsing; says nothing of whether it is JSON. */
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

/** Where its closing quote is, or the end of the frame. */
function endOfString(frame: Uint8Array, from: number): number {
  let at = from + 1;
  while (at < frame.length && frame[at] !== quote) at += frame[at] === backslash ? 2 : 1;
  return at;
}
