// Parses what the reader on the target prints: lines of status, and framed pieces of the command's output.
import { type BootstrapReport, parseReport } from '../steps/ssh-exec/bootstrap-report.ts';
import type { OutputStream } from '../steps/step-type.ts';
import { isStopNote, type StopNote } from './stop-note.ts';

/** The target can't keep the command running. */
export interface RefusedEvent {
  is: 'refused';
  why: string;
  /** How the shell ended by itself, for example `exit code 1`, if that is the reason. */
  shellEnded?: string;
}

export type ReadEvent =
  /** `taken`: another agent collects the output. */
  | { is: 'begin' | 'exists' | 'never' | 'early' | 'end' | 'taken' }
  | RefusedEvent
  | { is: 'output'; stream: OutputStream; bytes: Buffer }
  | { is: 'report'; report: BootstrapReport }
  /** Comes before the exit of a command that was ended from outside. */
  | { is: 'stopped'; why: StopNote }
  | { is: 'exit'; code: number }
  /** A line of measurements of the command; comes before its exit. */
  | { is: 'used'; line: string }
  /** The target's disk was full: the rest of the stream is lost. */
  | { is: 'full'; stream: OutputStream }
  | { is: 'lost'; why: 'rebooted' | 'supervisor' };

const maxLineBytes = 4_096;

export class ReadStream {
  readonly #nonce: string;
  #begun = false;
  #held: Buffer = Buffer.alloc(0);
  /** Bytes of the current piece that have not arrived yet. */
  #pieceBytes = 0;
  #pieceStream: OutputStream = 'stdout';

  constructor(nonce: string) {
    this.#nonce = nonce;
  }

  /** Parses bytes into events. Throws if they can't be from the reader. */
  *push(bytes: Buffer): Generator<ReadEvent> {
    let rest = this.#held.length > 0 ? Buffer.concat([this.#held, bytes]) : bytes;
    this.#held = Buffer.alloc(0);
    while (rest.length > 0) {
      if (this.#pieceBytes > 0) {
        const piece = rest.subarray(0, this.#pieceBytes);
        this.#pieceBytes -= piece.length;
        rest = rest.subarray(piece.length);
        yield { is: 'output', stream: this.#pieceStream, bytes: piece };
        continue;
      }
      const end = rest.indexOf(10);
      if (end === -1) {
        const isTooLong = rest.length > maxLineBytes;
        if (isTooLong && this.#begun) throw new Error('the target printed something else than output');
        // What a startup file prints may have no line end; the reader's first word follows it then.
        this.#held = Buffer.from(isTooLong ? rest.subarray(-maxLineBytes) : rest);
        return;
      }
      const event = this.#line(rest.toString('latin1', 0, end));
      rest = rest.subarray(end + 1);
      if (event !== undefined) yield event;
    }
  }

  #line(line: string): ReadEvent | undefined {
    if (!this.#begun) return this.#first(line);
    const [kind, ...words] = line.split(' ');
    const stream = words[0] === '2' ? 'stderr' : 'stdout';
    switch (kind) {
      case 'd':
        this.#pieceStream = stream;
        if (!/^[1-9]\d{0,9}$/.test(words[1] ?? '')) break;
        this.#pieceBytes = Number(words[1]);
        return undefined;
      case 'r': {
        const report = parseReport(words.join(' '));
        return report === undefined ? undefined : { is: 'report', report };
      }
      case 'u':
        return { is: 'used', line: words.join(' ') };
      case 'x':
        if (!/^\d{1,3}$/.test(words[0] ?? '')) break;
        return { is: 'exit', code: Number(words[0]) };
      case 'w':
        return isStopNote(words[0]) ? { is: 'stopped', why: words[0] } : undefined;
      case 'f':
        return { is: 'full', stream };
      case 'l':
        return { is: 'lost', why: words[0] === 'rebooted' ? 'rebooted' : 'supervisor' };
      case 'end':
        return { is: 'end' };
    }
    throw new Error('the target printed something else than output');
  }

  /** The login shell's own output may come first, so lines without the nonce are skipped. */
  #first(line: string): ReadEvent | undefined {
    const at = line.indexOf(this.#nonce);
    if (at === -1) return undefined;
    const word = line.slice(at + this.#nonce.length + 1);
    if (word.startsWith('refused ')) return { is: 'refused', why: word.slice(8) };
    if (word === 'exists' || word === 'never' || word === 'early' || word === 'taken') return { is: word };
    if (word !== 'begin') return undefined;
    this.#begun = true;
    return { is: 'begin' };
  }
}
