// What PowerShell writes to standard error when its program came encoded: CLIXML. It begins with the first error or warning and ends with
// the process, so records are told one by one. Programs that the script starts write to the same handle: what stands between records is theirs.

/** Behind it is text in which records may stand. */
const header = '#< CLIXML(?:\\r?\\n|(?=<Objs))';
const inText = new RegExp(header, 'g');
const recordTag = '<S S="(?<stream>[^"<>]*)"[^<>]*>';
const objectTag = '<Obj(?:\\s[^<>]*)?>';
const inRecords = new RegExp(
  `${header}|<Objs(?:\\s[^<>]*)?>|</Objs>|(?<record>${recordTag})|(?<object>${objectTag})`,
  'g',
);
const inObject = new RegExp(`${objectTag}|</Obj>`, 'g');
const inRecord = /<\/S>/g;
/** A tag that grows longer is text. */
const maxTagChars = 1_000;
/** A record that grows longer is given as it is. */
const maxRecordChars = 1_048_576;

/** Errors as they are, warnings and the like named, progress left out. */
const prefixes: Readonly<Record<string, string>> = {
  error: '',
  warning: 'WARNING: ',
  verbose: 'VERBOSE: ',
  debug: 'DEBUG: ',
};

/** One whose end has not come. */
interface Begun {
  tag: string;
  /** Of what is text for people; undefined for an object, which may have others inside. */
  stream: string | undefined;
  depth: number;
  parts: string[];
  chars: number;
}

/** Turns the bytes of standard error into text for people, as they come. What is held of them is bounded, and looked at once. */
export class ClixmlDecoder {
  readonly #decoder = new TextDecoder('utf-8');
  #hasRecords = false;
  #begun: Begun | undefined;
  /** What may be the beginning of a tag. */
  #held = '';
  #isMidLine = false;

  /** What can be told so far. */
  write(bytes: Buffer): string {
    return this.#read(this.#decoder.decode(bytes, { stream: true }));
  }

  /** The rest: of a record without its end what there is. */
  end(): string {
    const told = this.#read(this.#decoder.decode());
    const held = this.#held;
    const begun = this.#begun;
    this.#held = '';
    this.#begun = undefined;
    if (begun === undefined) return told + held;
    if (begun.stream === undefined)
      return /\sS="progress"/i.test(begun.tag) ? told : told + wholeOf(begun) + held;
    // Of what ends it a part may have come.
    if (!held.startsWith('<')) begun.parts.push(held);
    return told + this.#record(begun);
  }

  #read(piece: string): string {
    const text = this.#held + piece;
    this.#held = '';
    let told = '';
    for (let at = 0; at < text.length; ) {
      const tags = this.#tags();
      tags.lastIndex = at;
      const found = tags.exec(text);
      const isLast = found === null;
      const before = isLast ? at + this.#hold(text.slice(at)) : found.index;
      told += this.#add(text.slice(at, before));
      if (isLast) return told;
      at = tags.lastIndex;
      told += this.#tag(found);
    }
    return told;
  }

  #tags(): RegExp {
    if (this.#begun !== undefined) return this.#begun.stream === undefined ? inObject : inRecord;
    return this.#hasRecords ? inRecords : inText;
  }

  /** Keeps what of the end of a text may be the beginning of a tag. @returns the length of what is before it. */
  #hold(text: string): number {
    const end = text.slice(-maxTagChars);
    const marks = [end.lastIndexOf('#'), end.lastIndexOf('<')].filter((at) => at >= 0).sort((a, b) => a - b);
    const from = marks.find((at) => mayBecomeTag(end.slice(at), this.#hasRecords));
    if (from === undefined) return text.length;
    this.#held = end.slice(from);
    return text.length - this.#held.length;
  }

  /** What is no tag: of what has begun, or text of others. */
  #add(text: string): string {
    const begun = this.#begun;
    if (text === '') return '';
    if (begun === undefined) return this.#tell(text);
    begun.parts.push(text);
    begun.chars += text.length;
    if (begun.chars <= maxRecordChars) return '';
    this.#begun = undefined;
    return this.#tell(wholeOf(begun));
  }

  #tag({ 0: tag, groups = {} }: RegExpExecArray): string {
    const begun = this.#begun;
    if (begun === undefined) {
      this.#hasRecords = true;
      const { record, object, stream } = groups;
      if ((record ?? object)?.endsWith('/>') === false)
        this.#begun = { tag, stream: stream?.toLowerCase(), depth: 1, parts: [], chars: 0 };
      return '';
    }
    if (tag.startsWith('</')) begun.depth -= 1;
    else if (!tag.endsWith('/>')) begun.depth += 1;
    if (begun.depth > 0) return this.#add(tag);
    this.#begun = undefined;
    return begun.stream === undefined ? '' : this.#record(begun);
  }

  #record({ stream = '', parts }: Begun): string {
    const prefix = prefixes[stream];
    if (prefix === undefined) return '';
    const written = unescapeClixml(withoutEntities(parts.join(''))).replaceAll('\r\n', '\n');
    if (prefix === '') return this.#tell(written);
    const isOnItsLine = written.endsWith('\n') ? '' : '\n';
    return this.#tell(`${this.#isMidLine ? '\n' : ''}${prefix}${written}${isOnItsLine}`);
  }

  #tell(text: string): string {
    if (text !== '') this.#isMidLine = !text.endsWith('\n');
    return text;
  }
}

function wholeOf({ tag, parts }: Begun): string {
  return tag + parts.join('');
}

function mayBecomeTag(text: string, hasRecords: boolean): boolean {
  if (['#< CLIXML\r\n', '#< CLIXML\n', '#< CLIXML<Objs'].some((each) => each.startsWith(text))) return true;
  if (!hasRecords || text.includes('>')) return false;
  const tags = ['<S S="', '<Obj', '<Objs', '</Objs>', '</Obj>', '</S>'];
  return tags.some((tag) => tag.startsWith(text) || (!tag.endsWith('>') && text.startsWith(tag)));
}

const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/** What is none stays as it is. */
function withoutEntities(text: string): string {
  return text.replaceAll(/&(?:(amp|lt|gt|quot|apos)|#x([0-9A-Fa-f]{1,6})|#([0-9]{1,7}));/g, (...found) => {
    const [whole, name, hex, decimal] = found as [string, ...(string | undefined)[]];
    if (name !== undefined) return entities[name] ?? whole;
    const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}

/** `_x000A_` is a unit of UTF-16; two of them may be one character. */
export function unescapeClixml(text: string): string {
  return text.replaceAll(/_x([0-9A-Fa-f]{4})_/g, (_, code: string) =>
    String.fromCharCode(Number.parseInt(code, 16)),
  );
}
