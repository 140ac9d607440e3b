// Private key blocks as PEM, OpenSSH and PGP write them: in lines with any line ends and prefixes, or on one line, as
// in a JSON string.
import { byteClass, runEnd } from './byte-class.ts';
import type { Form, Look } from './form.ts';

/** How much is masked of a block that has no end. */
export const maxPrivateKeyBytes = 32 * 1024;

/** Keys are written in runs of 64 or 70 characters of base64; only the last run is shorter. */
const runBytes = 32;
/** The shortest run that is enough if the block has its end line. */
const leastRunBytes = 16;
/** The longest gap before the first run or between two: line ends, prefixes of lines, headers. */
const maxGapBytes = 256;
const maxLabelBytes = 48;

const base64 = byteClass('A-Za-z0-9+/=');
const label = byteClass('A-Z0-9 ');
const dash = 0x2d;
const dashes = Buffer.from('-----');
const endMark = Buffer.from('-----END ');
const beginMark = Buffer.from('-----BEGIN ');

export const privateKey: Form = {
  kind: 'private_key',
  anchors: [{ text: beginMark.toString(), windowAt: 5 }],
  look(data, from, after, isLast) {
    const labelEnd = runEnd(data, after, label, after + maxLabelBytes);
    const bodyStart = labelEnd + dashes.length;
    if (!data.toString('latin1', after, labelEnd).includes('PRIVATE KEY')) {
      const mayBecomeOne = labelEnd === data.length && labelEnd < after + maxLabelBytes && !isLast;
      return mayBecomeOne ? 'cut_off' : { noneBefore: after };
    }
    if (data.length < bodyStart && !isLast && startsWithPart(data, labelEnd, dashes)) return 'cut_off';
    if (!startsWith(data, labelEnd, dashes)) return { noneBefore: after };
    return bodyEnd(data, from, bodyStart, isLast);
  },
};

function bodyEnd(data: Buffer, from: number, bodyStart: number, isLast: boolean): Look {
  const bound = from + maxPrivateKeyBytes;
  const to = Math.min(bound, data.length);
  let longestRun = 0;
  let lastRunEnd = bodyStart;
  let place = bodyStart;
  while (place < to && place - lastRunEnd <= maxGapBytes) {
    const end = runEnd(data, place, base64, to);
    longestRun = Math.max(longestRun, end - place);
    if (end - place >= runBytes) lastRunEnd = end;
    place = end;
    if (place < to && data[place] === dash) {
      if (!isLast && (startsWithPart(data, place, endMark) || startsWithPart(data, place, beginMark)))
        return 'cut_off';
      if (startsWith(data, place, endMark)) return framed(data, from, place, longestRun, isLast);
      // Another block begins, so this one has no end.
      if (startsWith(data, place, beginMark)) break;
    }
    if (end === place) place += 1;
  }
  // The block may go on: decide once more data has come.
  if (place >= data.length && data.length < bound && !isLast) return 'cut_off';
  if (longestRun < runBytes) return { noneBefore: bodyStart };
  return { start: from, end: place >= bound ? bound : lastRunEnd };
}

function framed(data: Buffer, from: number, mark: number, longestRun: number, isLast: boolean): Look {
  const labelStart = mark + endMark.length;
  const labelEnd = runEnd(data, labelStart, label, labelStart + maxLabelBytes);
  if (data.length < labelEnd + dashes.length && !isLast && labelEnd < labelStart + maxLabelBytes)
    return 'cut_off';
  if (longestRun < leastRunBytes) return { noneBefore: mark };
  return { start: from, end: runEnd(data, labelEnd, onlyDash, labelEnd + dashes.length) };
}

const onlyDash = byteClass('-');

function startsWith(data: Buffer, at: number, text: Buffer): boolean {
  return data.length >= at + text.length && data.compare(text, 0, text.length, at, at + text.length) === 0;
}

/** Whether the data ends in the middle of what may be this text. */
function startsWithPart(data: Buffer, at: number, text: Buffer): boolean {
  const part = data.length - at;
  return part < text.length && data.compare(text, 0, part, at) === 0;
}
