// What PowerShell writes to standard error when its program came encoded: CLIXML, in blocks among other text.
import { parseXml, type XmlElement, XmlError } from '../messages/xml.ts';

const begin = '#< CLIXML';
const end = '</Objs>';
/** A block that grows longer is given as it is. */
const maxBlockBytes = 1_048_576;

/** Errors as they are, warnings and the like named, progress left out. */
const prefixes: Readonly<Record<string, string>> = {
  error: '',
  warning: 'WARNING: ',
  verbose: 'VERBOSE: ',
  debug: 'DEBUG: ',
};

/** Turns the bytes of standard error into text for people, as they come. */
export class ClixmlDecoder {
  #held = '';
  readonly #decoder = new TextDecoder('utf-8');

  /** What can be told so far. */
  write(bytes: Buffer): string {
    this.#held += this.#decoder.decode(bytes, { stream: true });
    return this.#take(false);
  }

  /** The rest: a block without its end as it came. */
  end(): string {
    this.#held += this.#decoder.decode();
    return this.#take(true);
  }

  #take(isLast: boolean): string {
    let text = '';
    for (;;) {
      const at = this.#held.indexOf(begin);
      if (at === -1) {
        const kept = isLast ? 0 : beginningAtEnd(this.#held);
        text += this.#held.slice(0, this.#held.length - kept);
        this.#held = this.#held.slice(this.#held.length - kept);
        return text;
      }
      text += this.#held.slice(0, at);
      this.#held = this.#held.slice(at);
      const close = this.#held.indexOf(end);
      if (close === -1) {
        if (!isLast && this.#held.length <= maxBlockBytes) return text;
        text += this.#held;
        this.#held = '';
        return text;
      }
      const block = this.#held.slice(0, close + end.length);
      this.#held = this.#held.slice(block.length);
      text += decodeBlock(block) ?? block;
    }
  }
}

/** How much of the end of a text may be the beginning of a block. */
function beginningAtEnd(text: string): number {
  for (let length = Math.min(begin.length - 1, text.length); length > 0; length -= 1) {
    if (text.endsWith(begin.slice(0, length))) return length;
  }
  return 0;
}

function decodeBlock(block: string): string | undefined {
  let root: XmlElement;
  try {
    root = parseXml(block.slice(begin.length).trimStart());
  } catch (error) {
    if (error instanceof XmlError) return undefined;
    throw error;
  }
  if (root.name !== 'Objs') return undefined;
  let text = '';
  let line = '';
  for (const { name, attributes, text: content } of root.children) {
    const prefix = name === 'S' ? prefixes[(attributes.get('S') ?? '').toLowerCase()] : undefined;
    if (prefix === undefined) continue;
    const written = unescapeClixml(content).replaceAll('\r\n', '\n');
    text += line === '' ? prefix + written : written;
    line = written.endsWith('\n') ? '' : written;
    if (prefix !== '' && line !== '') {
      text += '\n';
      line = '';
    }
  }
  return text;
}

/** `_x000A_` is a unit of UTF-16; two of them may be one character. */
export function unescapeClixml(text: string): string {
  return text.replaceAll(/_x([0-9A-Fa-f]{4})_/g, (_, code: string) =>
    String.fromCharCode(Number.parseInt(code, 16)),
  );
}
