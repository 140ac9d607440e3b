// Counts how much of a command's output has become chunks, so that each chunk can say where reading continues after it.
import type { OutputPosition, StreamPosition } from '@opsconductor/protocol';
import type { OutputStream, StreamOffsets } from '../steps/step-type.ts';

/** What a redactor holds back of a stream, and how much of that is already masked. */
interface HeldBack {
  readonly heldBytes: number;
  readonly heldMaskedBytes: number;
}

const nothingHeld: HeldBack = { heldBytes: 0, heldMaskedBytes: 0 };

export class PositionCounter {
  /** What was taken from the command, in bytes of each stream. */
  readonly written: StreamOffsets;
  /** How much of that went into the redactors. */
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

  /**
   * Counts `bytes` more of the stream, which became `shownBytes`. The first of those may be in an earlier process's
   * chunks.
   */
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
      /** Where reading continues after the first `emittedBytes` of what is to be shown. */
      positionAfter: (emittedBytes: number, isLast: boolean): OutputPosition =>
        isLast ? last : { ...before, [stream]: { ...before[stream], skip: shownBeforeBytes + emittedBytes } },
    };
  }

  /** The position of an output that is cut here. */
  cut(): OutputPosition {
    return { ...this.#now, cut: true };
  }
}
