// What PowerShell writes to standard error when its program came encoded: CLIXML. It begins with the first error or
// warning and ends with the process, so records are given out one by one. Programs that the script starts write to the
// same handle, so text between records is theirs. PowerShell may pass its output on at any point, even inside a tag, so
// their text may be there, too. PowerShell writes line breaks as _x000A_: a line that ends with a real line break is
// not its own.

/** After it comes text that may contain records. */
const header = '#< CLIXML(?:\\r?\\n|(?=<Objs))';
const inText = new RegExp(header, 'g');
const recordTag = '<S S="(?<stream>[^"<>\\n]*)"[^<>\\n]*>';
const objectTag = '<Obj(?: [^<>\\n]*)?>';
const inRecords = new RegExp(
  `${header}|<Objs(?: [^<>\\n]*)?>|</Objs>|(?<record>${recordTag})|(?<object>${objectTag})|(?<cut><(?:S S="|Obj )[^<>\\n]*\\n)`,
  'g',
);
const inObject = new RegExp(`${objectTag}|</Obj>|(?<line>\\n)`, 'g');
const inRecord = /<\/S>|(?<line>\n)/g;
/** Names of the other elements that PowerShell writes inside an object. */
const innerName =
  '(?:Obj|TNRef|TN|ToString|TS|T|MS|Props|SBK|SS|SB|Sg|S|Nil|C|By|BA|B|[IU](?:16|32|64)|Db|DCT|DT|D|G|URI|Version|XD|Ref|LST|IE|En|QUE|STK)';
const innerTag = new RegExp(`</?${innerName}(?: [^<>\\n]*)?/?>`, 'g');
/** The beginning of such an element's tag, whatever attributes it has. */
const beginOfInner = new RegExp(`^</?${innerName}(?: (?:[A-Za-z]+="[^"<>\\n]*" )*)?`);
/** Tags that may be interrupted by a line of a program. */
const tagsOfRecords = [
  ...['Error', 'warning', 'verbose', 'debug'].map((stream) => `<S S="${stream}">`),
  ...['information', 'progress'].map((stream) => `<Obj S="${stream}" RefId="`),
];
/** A tag that grows longer is text. */
const maxTagChars = 1_000;
/** A record that grows longer is given out as it is. */
const maxRecordChars = 1_048_576;

/** Errors unchanged, warnings and the like with their name, progress left out. */
const prefixes: Readonly<Record<string, string>> = {
  error: '',
  warning: 'WARNING: ',
  verbose: 'VERBOSE: ',
  debug: 'DEBUG: ',
};

/** A record or object whose end has not arrived. */
interface Begun {
  tag: string;
  /** The stream of text for people; undefined for an object, which may contain other objects. */
  stream: string | undefined;
  depth: number;
  parts: string[];
  /** Index of the first part of the unfinished line. */
  lineFrom: number;
  chars: number;
}

/**
 * Converts the bytes of standard error to text for people, as they arrive. What is held is bounded, and looked at once.
 */
export class ClixmlDecoder {
  readonly #decoder = new TextDecoder('utf-8');
  #hasRecords = false;
  #begun: Begun | undefined;
  /** What may be the beginning of a tag. */
  #held = '';
  /** The beginning of a tag that a line of a program has interrupted. */
  #broken = '';
  #isMidLine = false;

  /** Returns what can be given out so far. */
  write(bytes: Buffer): string {
    return this.#read(this.#decoder.decode(bytes, { stream: true }));
  }

  /** Returns the rest: what there is of an unfinished record, and nothing of an object, which is not for people. */
  end(): string {
    const told = this.#read(this.#decoder.decode());
    const held = this.#broken + this.#held;
    const begun = this.#begun;
    this.#held = '';
    this.#broken = '';
    this.#begun = undefined;
    if (begun === undefined) return told + held;
    if (begun.stream === undefined) return told;
    // A part of its end tag may have arrived.
    if (!held.startsWith('<')) begun.parts.push(held);
    return told + this.#record(begun);
  }

  #read(piece: string): string {
    const text = this.#held + piece;
    this.#held = '';
    let told = '';
    for (let at = 0; at < text.length; ) {
      if (this.#broken !== '') {
        const rest = this.#mend(text, at);
        told += rest.told;
        at = rest.at;
        continue;
      }
      const tags = this.#tags();
      tags.lastIndex = at;
      const found = tags.exec(text);
      const isLast = found === null;
      const before = isLast ? at + this.#hold(text.slice(at)) : found.index;
      told += this.#add(text.slice(at, before));
      if (isLast) return told;
      at = tags.lastIndex;
      told += this.#found(found);
    }
    return told;
  }

  #found(found: RegExpExecArray): string {
    const { cut, line } = found.groups ?? {};
    if (cut !== undefined) {
      this.#broken = beginOf(cut, tagsOfRecords);
      return this.#tell(cut.slice(this.#broken.length));
    }
    if (line === undefined) return this.#tag(found);
    // It may have become too long with the text before the line's end.
    if (this.#begun === undefined) return this.#tell(line);
    return this.#begun.stream === undefined
      ? this.#lineInObject(this.#begun)
      : this.#lineInRecord(this.#begun);
  }

  /** Everything complete in the object is skipped. */
  #lineInObject(begun: Begun): string {
    const written = begun.parts.join('');
    const whole = [...written.matchAll(innerTag)].at(-1);
    const line = `${written.slice(whole === undefined ? 0 : whole.index + whole[0].length)}\n`;
    const mark = line.indexOf('<');
    this.#broken = mark < 0 ? '' : beginOf(line.slice(mark), ['</Obj>', '<Obj ']);
    // A single < may just as well be the program's.
    const told = this.#broken.length < 2 ? line : line.slice(mark + this.#broken.length);
    begun.parts = [];
    begun.chars = Math.max(0, begun.chars - told.length);
    return this.#tell(told);
  }

  #lineInRecord(begun: Begun): string {
    const line = begun.parts.splice(begun.lineFrom).join('');
    const mark = line.indexOf('</');
    this.#broken = mark < 0 ? '' : beginOf(line.slice(mark), ['</S>']).slice(0, 3);
    begun.parts.push(mark < 0 ? line : line.slice(0, mark) + line.slice(mark + this.#broken.length));
    begun.lineFrom = begun.parts.length + 1;
    return this.#add('\n');
  }

  /** Looks for the rest of a tag, after lines of a program. */
  #mend(text: string, from: number): { told: string; at: number } {
    const ends = /[<>\n]/g;
    ends.lastIndex = from;
    const end = ends.exec(text);
    const sign = end?.[0];
    const at = end === null ? text.length : sign === '<' ? end.index : end.index + 1;
    const piece = text.slice(from, at);
    if (sign === '\n')
      return { told: this.#begun?.stream === undefined ? this.#tell(piece) : this.#add(piece), at };
    const tag = this.#broken + piece;
    if (sign === undefined && tag.length <= maxTagChars) {
      this.#held = piece;
      return { told: '', at };
    }
    // A single < has already been given out.
    const lead = this.#broken === '<' && sign !== '>' ? piece : tag;
    this.#broken = '';
    const tags = this.#tags();
    tags.lastIndex = 0;
    const whole = sign === '>' ? tags.exec(tag) : null;
    return { told: whole === null || whole.index > 0 ? this.#add(lead) : this.#tag(whole), at };
  }

  #tags(): RegExp {
    if (this.#begun !== undefined) return this.#begun.stream === undefined ? inObject : inRecord;
    return this.#hasRecords ? inRecords : inText;
  }

  /**
   * Holds back the end of a text if it may be the beginning of a tag.
   *
   * @returns the length of what is before it.
   */
  #hold(text: string): number {
    const end = text.slice(-maxTagChars);
    const marks = [end.lastIndexOf('#'), end.lastIndexOf('<')].filter((at) => at >= 0).sort((a, b) => a - b);
    const from = marks.find((at) => mayBecomeTag(end.slice(at), this.#hasRecords));
    if (from === undefined) return text.length;
    this.#held = end.slice(from);
    return text.length - this.#held.length;
  }

  /** Adds text that is not a tag: to the current record, or as text of other programs. */
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
        this.#begun = { tag, stream: stream?.toLowerCase(), depth: 1, parts: [], lineFrom: 0, chars: 0 };
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
  if (!hasRecords || /[>\n]/.test(text)) return false;
  const tags = ['<S S="', '<Obj', '<Objs', '</Objs>', '</Obj>', '</S>'];
  return tags.some((tag) => tag.startsWith(text) || (!tag.endsWith('>') && text.startsWith(tag)));
}

/** Returns the longest beginning of a tag that the text starts with. */
function beginOf(text: string, tags: readonly string[]): string {
  let longest = beginOfInner.exec(text)?.[0] ?? '';
  for (const tag of tags) {
    let length = 0;
    while (length < tag.length && text[length] === tag[length]) length += 1;
    if (length > longest.length) longest = tag.slice(0, length);
  }
  return longest;
}

const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

/** Invalid entities stay as they are. */
function withoutEntities(text: string): string {
  return text.replaceAll(/&(?:(amp|lt|gt|quot|apos)|#x([0-9A-Fa-f]{1,6})|#([0-9]{1,7}));/g, (...found) => {
    const [whole, name, hex, decimal] = found as [string, ...(string | undefined)[]];
    if (name !== undefined) return entities[name] ?? whole;
    const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}

/** `_x000A_` is one UTF-16 unit; two of them may be one character. */
export function unescapeClixml(text: string): string {
  return text.replaceAll(/_x([0-9A-Fa-f]{4})_/g, (_, code: string) =>
    String.fromCharCode(Number.parseInt(code, 16)),
  );
}
