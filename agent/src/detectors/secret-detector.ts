// Finds secrets by their form in one pass: a table over pairs of bytes says how far it is safe to jump to the next
// place where a form may begin (as in pattern-set.ts), and what follows that place is looked at once.
import type { DetectedKind } from '@opsconductor/protocol';
import { type Anchor, type Form, windowBytes } from './form.ts';
import { privateKey } from './private-key.ts';
import { tokenForms } from './token-forms.ts';

export interface Finding {
  kind: DetectedKind;
  /** Where its form begins. A stream must not be cut between here and the end. */
  from: number;
  /** The bytes to mask, up to `end` (exclusive). */
  start: number;
  end: number;
}

export interface Findings {
  /**
   * In the order in which they begin. One may lie inside another, for example a token that is the user of a URL with a
   * password. They never overlap in another way, so no chain of findings can hold a stream back.
   */
  found: Finding[];
  /** From here on, more data is needed to tell; the data's length if everything is known. */
  openFrom: number;
}

interface Candidate {
  form: number;
  anchor: Anchor;
  /** Distance from the window's last byte back to the beginning of the anchor. */
  back: number;
}

const maxJump = windowBytes - 1;
/** Table entries from this value on stand for a group of candidates. */
const firstGroup = windowBytes;

export class SecretDetector {
  readonly #forms: readonly Form[];
  /** For each pair of bytes: how far to jump, or which candidates' windows may end here. */
  readonly #table = new Uint8Array(0x10000).fill(maxJump);
  readonly #groups: Candidate[][] = [];
  /** Proper prefixes of anchors, since a stream may be cut inside an anchor. */
  readonly #partial = new Set<string>();
  readonly #longestAnchor: number;

  constructor(forms: readonly Form[]) {
    this.#forms = forms;
    const anchors = forms.flatMap((form, at) => form.anchors.map((anchor) => ({ form: at, anchor })));
    this.#longestAnchor = Math.max(...anchors.map(({ anchor }) => anchor.text.length));
    for (const { form, anchor } of anchors) {
      for (let length = 1; length < anchor.text.length; length++)
        this.#partial.add(anchor.text.slice(0, length));
      this.#addWindow(form, anchor, anchor.text);
      if (anchor.ignoresCase === true) this.#addWindow(form, anchor, anchor.text.toUpperCase());
    }
  }

  #addWindow(form: number, anchor: Anchor, text: string): void {
    const byteAt = (at: number) => (at < 0 ? undefined : text.charCodeAt(at));
    for (let end = 1; end < windowBytes; end++) {
      const [first, second] = [byteAt(anchor.windowAt + end - 1), byteAt(anchor.windowAt + end) as number];
      const firsts = first === undefined ? Array.from({ length: 256 }, (_, byte) => byte) : [first];
      for (const each of firsts) this.#limitJump(each | (second << 8), maxJump - end);
    }
    const last = anchor.windowAt + maxJump;
    this.#group((byteAt(last - 1) as number) | ((byteAt(last) as number) << 8)).push({
      form,
      anchor,
      back: last,
    });
  }

  #limitJump(pair: number, jump: number): void {
    const known = this.#table[pair] as number;
    if (jump > 0 && known < firstGroup && jump < known) this.#table[pair] = jump;
  }

  #group(pair: number): Candidate[] {
    const known = this.#table[pair] as number;
    if (known >= firstGroup) return this.#groups[known - firstGroup] as Candidate[];
    const made: Candidate[] = [];
    this.#table[pair] = firstGroup + this.#groups.push(made) - 1;
    return made;
  }

  /** @param isLast whether no data follows. */
  find(data: Buffer, isLast: boolean): Findings {
    const found: Finding[] = [];
    const table = this.#table;
    const { length } = data;
    /** For each form: nothing that begins before this place needs to be looked at again. */
    const done = new Int32Array(this.#forms.length);
    /** What is already masked; nothing is looked for inside it. */
    let masked = { start: 0, end: 0 };
    // A window may begin one byte before the data, since its first byte may be any.
    for (let end = maxJump - 1; end < length; ) {
      const entry = table[(data[end - 1] as number) | ((data[end] as number) << 8)] as number;
      if (entry < firstGroup) {
        end += entry;
        continue;
      }
      for (const { form, anchor, back } of this.#groups[entry - firstGroup] as Candidate[]) {
        const from = end - back;
        const isMasked = masked.start <= from && from < masked.end;
        if (isMasked || from < (done[form] as number) || !startsWith(data, from, anchor)) continue;
        const { kind, look } = this.#forms[form] as Form;
        const seen = look(data, from, from + anchor.text.length, isLast);
        if (seen === 'cut_off') return { found: inOrder(found), openFrom: from };
        if ('noneBefore' in seen) done[form] = seen.noneBefore;
        else {
          done[form] = seen.end;
          if (seen.end > masked.end) masked = seen;
          found.push({ kind, from, ...seen });
        }
      }
      end += 1;
    }
    return {
      found: inOrder(found),
      openFrom: isLast ? length : Math.max(masked.end, this.#partialStart(data)),
    };
  }

  #partialStart(data: Buffer): number {
    const { length } = data;
    for (let from = Math.max(0, length - this.#longestAnchor + 1); from < length; from++) {
      const end = data.toString('latin1', from);
      if (this.#partial.has(end) || this.#partial.has(end.toLowerCase())) return from;
    }
    return length;
  }
}

function startsWith(data: Buffer, from: number, { text, ignoresCase }: Anchor): boolean {
  if (from < 0 || from + text.length > data.length) return false;
  for (let at = 0; at < text.length; at++) {
    const byte = data[from + at] as number;
    const wanted = text.charCodeAt(at);
    // Upper and lower case letters differ in one bit.
    if (byte !== wanted && !(ignoresCase === true && byte === (wanted & ~0x20))) return false;
  }
  return true;
}

function inOrder(found: Finding[]): Finding[] {
  return found.sort((a, b) => a.start - b.start);
}

/** The detector for all known forms. */
export const secretDetector = new SecretDetector([privateKey, ...tokenForms]);
