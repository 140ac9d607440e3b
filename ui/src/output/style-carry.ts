// Tracks the style from chunk to chunk. Chunks may cut lines, escape sequences and UTF-8 characters anywhere, so what
// one chunk leaves unfinished is put in front of the next one's bytes.
import { cutSequence, maxSequenceLength, styleAfter } from './sgr.ts';

export interface StyleState {
  style: number;
  /** Bytes of an incomplete escape sequence or character; usually undefined. */
  carry?: Uint8Array;
}

const newline = 10;
const decoder = new TextDecoder();
const encoder = new TextEncoder();

/**
 * Returns whether bytes could change the style: they have an ESC, or a C1 control in UTF-8 (possibly cut at the end).
 */
export function mayStyle(bytes: Uint8Array): boolean {
  if (bytes.includes(0x1b)) return true;
  for (let at = bytes.indexOf(0xc2); at >= 0; at = bytes.indexOf(0xc2, at + 1)) {
    const next = bytes[at + 1];
    if (next === undefined || (next >= 0x80 && next <= 0x9f)) return true;
  }
  return false;
}

/** Returns the style after `bytes`, given the state before them, and what they leave unfinished. */
export function styleAfterBytes(bytes: Uint8Array, before: StyleState): StyleState {
  if (before.carry === undefined && !mayStyle(bytes)) return { style: before.style };
  const whole = before.carry === undefined ? bytes : joinedBytes(before.carry, bytes);
  const lineFrom = whole.lastIndexOf(newline) + 1;
  const characterFrom = cutCharacter(whole, lineFrom);
  const line = decoder.decode(whole.subarray(lineFrom, characterFrom));
  const sequenceFrom = cutSequence(line);
  const style = styleAfter(decoder.decode(whole.subarray(0, lineFrom)), before.style);
  if (sequenceFrom === undefined) {
    return withCarry(styleAfter(line, style), whole.slice(characterFrom));
  }
  const sequence = shortened(line.slice(sequenceFrom));
  return withCarry(
    styleAfter(line.slice(0, sequenceFrom), style),
    joinedBytes(encoder.encode(sequence), whole.subarray(characterFrom)),
  );
}

function withCarry(style: number, carry: Uint8Array): StyleState {
  return carry.length === 0 ? { style } : { style, carry };
}

/** Shortens an unfinished sequence to one that ends the same way, since one this long can't affect the style. */
function shortened(sequence: string): string {
  if (sequence.length <= maxSequenceLength + 2) return sequence;
  const introducer = sequence.slice(0, sequence.startsWith('\u001b') ? 2 : 1);
  const isControlSequence = introducer === '\u001b[' || introducer === '\u009b';
  const last = sequence.slice(-1);
  if (isControlSequence)
    return introducer + '0'.repeat(maxSequenceLength + 1) + (isParameter(last) ? '' : last);
  // The first half of a string's terminator (ESC \) may already be there.
  return introducer + (last === '\u001b' ? last : '');
}

const isParameter = (character: string) => character >= '0' && character <= '?';

/** Returns where the UTF-8 character begins that the end of the bytes cuts off; their length if none is cut off. */
function cutCharacter(bytes: Uint8Array, from: number): number {
  for (let back = 1; back <= 3 && bytes.length - back >= from; back += 1) {
    const byte = bytes[bytes.length - back] ?? 0;
    if ((byte & 0xc0) === 0x80) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc2 ? 2 : 1;
    return length > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}

function joinedBytes(first: Uint8Array, second: Uint8Array): Uint8Array {
  const whole = new Uint8Array(first.length + second.length);
  whole.set(first);
  whole.set(second, first.length);
  return whole;
}
