// Counts what of a command's output has become chunks, so that each chunk can say where to read on after it.
import type { OutputPosition, StreamPosition } from '@opsconductor/protocol';
import type { OutputStream, StreamOffsets } from '../steps/step-type.ts';

/** What a redactor keeps back of a stream, and how much of that is masked already. */
interface HeldBack {
  readonly heldBytes: number;
  readonly heldMaskedBytes: number;
}

const nothingHeld: HeldBack = { heldBytes: 0, heldMaskedBytes: 0 };

export class PositionCounter {
  /** What was taken from the command. */
  readonly written: StreamOffsets;
  /** What of it has gone through the redactors. */
  readonly #passed: StreamOffsets;
  #now: OutputPosition;

  /** @param from where an earlier process stopped. */
  constructor(from: OutputPosition) {
    this.#now = from;
    this.written = { stdout: from.stdout.offset, stderr: from.stderr.offset };
    this.#passed = { ...this.written };
  }

  took(stream: OutputStream, bytes: number): void {
    this.written[stream] += bytes;
  }

  /** `bytes` more of the stream have become `shownBytes`, of which the first may be in chunks of an earlier process. */
  sealed(stream: OutputStream, bytes: number, shownBytes: number, held: HeldBack = nothingHeld) {
    this.#passed[stream] += bytes;
    const before = this.#now;
    const shownBeforeBytes = Math.min(before[stream].skip, shownBytes);
    const after: StreamPosition = {
      offset: this.#passed[stream] - held.heldBytes,
      masked: held.heldMaskedBytes,
      skip: before[stream].skip - shownBeforeBytes,
    };
    this.#now = { ...before, [stream]: after };
    const last = this.#now;
    return {
      shownBeforeBytes,
      /** Where to read on after the first `bytes` of what is to be shown. */
      positionAfter: (emittedBytes: number, isLast: boolean): OutputPosition =>
        isLast ? last : { ...before, [stream]: { ...before[stream], skip: shownBeforeBytes + emittedBytes } },
    };
  }

  /** The output ends here. */
  cut(): OutputPosition {
    return { ...this.#now, cut: true };
  }
}
