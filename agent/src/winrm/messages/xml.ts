// Just enough XML for what WinRM hosts send: elements by namespace, whatever their prefix. There are no document types,
// so no custom entities; depth and number of elements are bounded.

export interface XmlElement {
  namespace: string;
  name: string;
  /** By local name. */
  attributes: Map<string, string>;
  children: XmlElement[];
  /** Text of this element, without its children's. */
  text: string;
}

export class XmlError extends Error {
  override readonly name = 'XmlError';
}

const maxDepth = 64;
const maxElements = 50_000;
const maxAttributes = 256;
/** In force at one place: each element that declares one copies them all. */
const maxNamespaces = 64;

/** @throws {XmlError} for anything that is not such a document. */
export function parseXml(text: string): XmlElement {
  return new Reader(text).document();
}

/** Returns the first child with this name; undefined if there is none. */
export function childOf(element: XmlElement | undefined, namespace: string, name: string) {
  return element?.children.find((child) => child.name === name && child.namespace === namespace);
}

/** Returns all children with this name. */
export function childrenOf(element: XmlElement | undefined, namespace: string, name: string): XmlElement[] {
  return element?.children.filter((child) => child.name === name && child.namespace === namespace) ?? [];
}

/** Yields the element and everything below it, in document order. */
export function* allOf(element: XmlElement): Generator<XmlElement> {
  yield element;
  for (const child of element.children) yield* allOf(child);
}

/** Escapes text for use as content or in double quotes. A carriage return would not survive unescaped. */
export function escapeXml(text: string): string {
  return text.replaceAll(/[&<>"\r\n\t]/g, (found) => {
    const named = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }[found];
    return named ?? `&#${found.charCodeAt(0)};`;
  });
}

/** Returns the first character that no XML document can contain; undefined if there is none. */
export function unwritable(text: string): string | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are meant
  return /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|\p{Surrogate}/u.exec(text)?.[0];
}

interface Open {
  element: XmlElement;
  /** As it was written: the end tag must be the same. */
  tag: string;
  namespaces: ReadonlyMap<string, string>;
}

const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };
const namePattern = '[A-Za-z_][\\w.-]*(?::[A-Za-z_][\\w.-]*)?';
const startTag = new RegExp(
  `<(${namePattern})((?:\\s+${namePattern}\\s*=\\s*(?:"[^"<]*"|'[^'<]*'))*)\\s*(/?)>`,
  'y',
);
const endTag = new RegExp(`</(${namePattern})\\s*>`, 'y');
const attribute = new RegExp(`(${namePattern})\\s*=\\s*(?:"([^"]*)"|'([^']*)')`, 'g');

class Reader {
  readonly #text: string;
  readonly #open: Open[] = [];
  #root: XmlElement | undefined;
  #at = 0;
  #elements = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): XmlElement {
    while (this.#at < this.#text.length) this.#next();
    const [unclosed] = this.#open;
    if (unclosed !== undefined) throw new XmlError(`<${unclosed.tag}> is not closed`);
    if (this.#root === undefined) throw new XmlError('there is no element');
    return this.#root;
  }

  #next(): void {
    const text = this.#text;
    if (text[this.#at] !== '<') {
      const end = text.indexOf('<', this.#at);
      const found = text.slice(this.#at, end === -1 ? text.length : end);
      this.#at += found.length;
      this.#addText(decode(found));
    } else if (text.startsWith('<!--', this.#at)) this.#skip('-->');
    else if (text.startsWith('<?', this.#at)) this.#skip('?>');
    else if (text.startsWith('<![CDATA[', this.#at)) this.#addText(this.#skip(']]>').slice(9));
    else if (text.startsWith('</', this.#at)) this.#end();
    else if (text.startsWith('<!', this.#at)) throw new XmlError('a document type is not allowed');
    else this.#start();
  }

  /** Moves past `end`, and returns what is before it. */
  #skip(end: string): string {
    const at = this.#text.indexOf(end, this.#at);
    if (at === -1) throw new XmlError(`there is no ${end}`);
    const skipped = this.#text.slice(this.#at, at);
    this.#at = at + end.length;
    return skipped;
  }

  #addText(text: string): void {
    const open = this.#open.at(-1);
    if (open !== undefined) open.element.text += text;
    else if (/[^\s\ufeff]/.test(text)) throw new XmlError('there is text outside of all elements');
  }

  #start(): void {
    startTag.lastIndex = this.#at;
    const match = startTag.exec(this.#text);
    if (match === null) throw new XmlError(`a tag at ${this.#at} can not be read`);
    const [whole, tag = '', attributes = '', isEmpty] = match;
    this.#at += whole.length;
    this.#elements += 1;
    if (this.#elements > maxElements) throw new XmlError(`there are more than ${maxElements} elements`);
    const parent = this.#open.at(-1);
    if (parent === undefined && this.#root !== undefined) throw new XmlError('there is more than one root');
    const open = openElement(tag, attributes, parent);
    if (parent === undefined) this.#root = open.element;
    else parent.element.children.push(open.element);
    if (isEmpty === '/') return;
    this.#open.push(open);
    if (this.#open.length > maxDepth) throw new XmlError(`elements are nested deeper than ${maxDepth}`);
  }

  #end(): void {
    endTag.lastIndex = this.#at;
    const match = endTag.exec(this.#text);
    const open = this.#open.pop();
    if (match === null || open === undefined || match[1] !== open.tag) {
      throw new XmlError(`an end tag at ${this.#at} closes nothing`);
    }
    this.#at += match[0].length;
  }
}

function openElement(tag: string, attributeText: string, parent: Open | undefined): Open {
  const attributes = new Map<string, string>();
  const outer = parent?.namespaces ?? new Map([['xml', 'http://www.w3.org/XML/1998/namespace']]);
  const declared = new Map<string, string>();
  let count = 0;
  for (const [, name = '', double, single] of attributeText.matchAll(attribute)) {
    count += 1;
    if (count > maxAttributes) throw new XmlError(`<${tag}> has more than ${maxAttributes} attributes`);
    const value = decode(double ?? single ?? '');
    const [prefix, local] = splitName(name);
    if (name === 'xmlns' || prefix === 'xmlns') {
      declared.set(name === 'xmlns' ? '' : local, value);
    } else attributes.set(local, value);
  }
  const namespaces = declared.size === 0 ? outer : new Map([...outer, ...declared]);
  if (namespaces.size > maxNamespaces) {
    throw new XmlError(`more than ${maxNamespaces} namespaces are declared at <${tag}>`);
  }
  const [prefix, name] = splitName(tag);
  const namespace = namespaces.get(prefix);
  if (namespace === undefined && prefix !== '') throw new XmlError(`the prefix ${prefix} is not declared`);
  return {
    element: { namespace: namespace ?? '', name, attributes, children: [], text: '' },
    tag,
    namespaces,
  };
}

function splitName(name: string): [prefix: string, local: string] {
  const colon = name.indexOf(':');
  return colon === -1 ? ['', name] : [name.slice(0, colon), name.slice(colon + 1)];
}

function decode(text: string): string {
  if (!text.includes('&')) return text;
  return text.replaceAll(/&([^;&\s]{0,32});?/g, (whole, name: string) => {
    const numeric = /^#(?:x([0-9A-Fa-f]{1,6})|([0-9]{1,7}))$/.exec(name);
    const code =
      numeric === null ? undefined : Number.parseInt(numeric[1] ?? numeric[2] ?? '', numeric[1] ? 16 : 10);
    const character =
      code === undefined ? entities[name] : code <= 0x10ffff ? String.fromCodePoint(code) : undefined;
    if (character === undefined || !whole.endsWith(';')) throw new XmlError(`${whole} is not a character`);
    return character;
  });
}
