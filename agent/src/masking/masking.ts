// What to mask for one attempt: the secrets that it was given and, if requested, whatever has the form of a secret. It
// also counts what was masked for its form in anything that leaves the agent.
import {
  type DetectedKind,
  type DetectionPlace,
  type Detections,
  detectedKinds,
  detectionPlaces,
  limits,
} from '@opsconductor/protocol';
import { cutMark } from '../cut-text.ts';
import { secretDetector } from '../detectors/secret-detector.ts';
import type { Pattern } from './comparison.ts';
import type { PatternSet } from './pattern-set.ts';
import { type Detecting, mask, Redactor, type RedactorOptions } from './redactor.ts';

type Counts = Map<`${DetectedKind} ${DetectionPlace}`, number>;

export class Masking {
  readonly #patterns: PatternSet;
  /** Undefined if nothing is recognized by its form. */
  readonly #counts: Counts | undefined;

  private constructor(patterns: PatternSet, counts: Counts | undefined) {
    this.#patterns = patterns;
    this.#counts = counts;
  }

  /** @param detects whether what has the form of a secret is masked as well. */
  static of(patterns: PatternSet, detects = false): Masking {
    return new Masking(patterns, detects ? new Map() : undefined);
  }

  /** Returns a masking with additional patterns that shares its counts with this one. */
  async with(more: readonly Pattern[]): Promise<Masking> {
    return new Masking(await this.#patterns.with(more), this.#counts);
  }

  /** Returns a masking that masks the same and counts nothing, for texts that are shown repeatedly in the meantime. */
  uncounted(): Masking {
    return new Masking(this.#patterns, this.#counts && new Map());
  }

  /** Returns a redactor for one stream of output. */
  redactor(place: DetectionPlace, options: Omit<RedactorOptions, 'detecting'> = {}): Redactor {
    return new Redactor(this.#patterns, { ...options, detecting: this.#detecting(place) });
  }

  /** Masks the secrets in a complete text, and the beginning of one where the text was cut (`cutText`). */
  text(text: string): string {
    if (this.#patterns.maxBytes === 0 && this.#counts === undefined) return text;
    const redactor = this.redactor('text');
    const shown = Buffer.concat([redactor.push(Buffer.from(text)), redactor.end()]).toString();
    const parts = shown.split(cutMark);
    const last = parts.pop() ?? '';
    return [...parts.map((part) => this.#withoutBeginning(part)), last].join(cutMark);
  }

  /** Returns what a log may show of an error and its causes. */
  error(error: unknown): Error {
    if (!(error instanceof Error)) return new Error(this.text(String(error)));
    const { message, stack = message, cause } = error;
    const shown = new Error(this.text(message));
    shown.stack = this.text(stack);
    if (cause !== undefined) shown.cause = this.error(cause);
    return shown;
  }

  #withoutBeginning(cut: string): string {
    const bytes = Buffer.from(cut);
    const start = this.#patterns.partialStart(bytes);
    if (bytes.length - start < limits.minMaskedBytes) return cut;
    return Buffer.concat([bytes.subarray(0, start), mask]).toString();
  }

  /** What was masked for its form so far; undefined if nothing was. */
  get detections(): Detections | undefined {
    if (this.#counts === undefined || this.#counts.size === 0) return undefined;
    return detectedKinds.flatMap((kind) =>
      detectionPlaces.flatMap((place) => {
        const count = this.#counts?.get(`${kind} ${place}`);
        return count === undefined ? [] : [{ kind, place, count }];
      }),
    );
  }

  #detecting(place: DetectionPlace): Detecting | undefined {
    const counts = this.#counts;
    if (counts === undefined) return undefined;
    return {
      detector: secretDetector,
      onDetected: (kind) => counts.set(`${kind} ${place}`, (counts.get(`${kind} ${place}`) ?? 0) + 1),
    };
  }
}
