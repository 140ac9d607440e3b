// The upload of one file. While the server does not answer, it tries again by itself. An upload that was interrupted,
// even on another page, goes on where it stopped, once what has arrived is found to be the beginning of the chosen file.
import type { StoredFile } from '@opsconductor/protocol';
import { ApiError, isPassing } from '../../api/client.ts';
import { createFile, digestOfReceived, getFile, type NewFile, uploadContent } from '../../api/files.ts';
import { pause, pauseMs } from '../../api/pauses.ts';
import { byteSize, count } from '../../format/quantity.ts';
import { Action } from '../action.svelte.ts';
import { digestOf, type FileDigest, hasThreads } from './file-digest.ts';
import { SmoothedRate } from './smoothed-rate.ts';

export type UploadPhase = 'beginning' | 'comparing' | 'sending' | 'verifying' | 'waiting';

/** For how long an upload on which nothing arrives tries again by itself. */
export const triesForMs = 5 * 60_000;

interface Try {
  signal: AbortSignal;
  rate: SmoothedRate;
  digest: FileDigest;
}

export class Upload {
  readonly action = new Action();
  /** What is being done; undefined while nothing is. */
  phase = $state<UploadPhase>();
  /** How many bytes have been compared or sent, by the phase. */
  doneBytes = $state(0);
  /** How many are to be compared, or sent in all. */
  allBytes = $state(0);
  /** Undefined if nothing is being sent, and until enough has been. */
  bytesPerSecond = $state<number>();
  /** What is wrong with the chosen file. */
  problem = $state<string>();
  /** Why it waits before it tries again; undefined unless it does. */
  waitsFor = $state.raw<ApiError>();
  /** Whether it was interrupted because someone else sends it at the same time. */
  isElsewhere = $state(false);
  #known = $state.raw<StoredFile>();
  #sentBytes = 0;
  /** The file that what has arrived is known to be the beginning of. */
  #file: File | undefined;
  #abort: AbortController | undefined;
  /** The digest of the whole file, once it is being computed; it outlives a try that failed. */
  #sha256: Promise<string> | undefined;
  /** Since something last arrived: how many tries failed, and when the first of them did. */
  #failed = { tries: 0, sinceMs: 0 };

  /** The file on the server, as of the last request; undefined until the upload has begun. */
  get known(): StoredFile | undefined {
    return this.#known;
  }

  /**
   * Starts the upload, or continues it, or `unfinished`. Resolves with whether the server has the whole file; it hasn't
   * if the upload was stopped.
   */
  async run(file: File, fields: NewFile, unfinished?: StoredFile): Promise<boolean> {
    if (this.action.busy) return false;
    const abort = new AbortController();
    this.#abort = abort;
    this.problem = undefined;
    this.isElsewhere = false;
    let isWhole = false;
    const rate = new SmoothedRate();
    const watch = setInterval(() => this.#measure(rate), 1_000);
    await this.action.run(async () => {
      try {
        isWhole = await this.#tryUntilSent(file, fields, unfinished, { signal: abort.signal, rate });
      } catch (error) {
        if (abort.signal.aborted) return;
        this.isElsewhere = isConflict(error);
        if (!(error instanceof DOMException) && !this.isElsewhere) throw error;
        // What has arrived may be of another file.
        this.#file = undefined;
        if (!this.isElsewhere)
          this.problem =
            'It can’t be read any more: it was changed, moved or deleted since it was chosen. Choose it again.';
      } finally {
        clearInterval(watch);
        this.phase = undefined;
        this.waitsFor = undefined;
        this.bytesPerSecond = undefined;
        this.doneBytes = this.#sentBytes;
        this.allBytes = this.#known?.size ?? 0;
      }
    });
    return isWhole;
  }

  /** Stops sending; the server keeps what has arrived, and `run` goes on from there. */
  stop(): void {
    this.#abort?.abort();
  }

  async #tryUntilSent(
    file: File,
    fields: NewFile,
    unfinished: StoredFile | undefined,
    { signal, rate }: Pick<Try, 'signal' | 'rate'>,
  ): Promise<boolean> {
    this.#failed = { tries: 0, sinceMs: 0 };
    let digest = this.#digestOf(file, signal);
    try {
      for (;;) {
        try {
          return await this.#upload(file, fields, unfinished, { signal, rate, digest });
        } catch (error) {
          if (signal.aborted) throw error;
          if (isConflict(error) && this.#failed.tries > 0) {
            // What seemed lost has arrived after all, or it is sent from elsewhere, too: it is compared once more.
            this.#failed.tries = 0;
            this.#file = undefined;
          } else await this.#waitAfter(error, signal);
          if (this.#file === file && this.#sha256 !== undefined) continue;
          // It may have read on from where the comparison will begin.
          digest.stop();
          digest = this.#digestOf(file, signal);
        }
      }
    } finally {
      digest.stop();
    }
  }

  #digestOf(file: File, signal: AbortSignal): FileDigest {
    this.#sha256 = undefined;
    const digest = digestOf(file);
    signal.addEventListener('abort', () => digest.stop());
    return digest;
  }

  /** Waits before the next try. Throws the error if there is none. */
  async #waitAfter(error: unknown, signal: AbortSignal): Promise<void> {
    const isBegun = this.#known !== undefined;
    if (!isBegun || !(error instanceof ApiError) || !isPassing(error)) throw error;
    const failed = this.#failed;
    if (failed.tries === 0) failed.sinceMs = performance.now();
    if (performance.now() - failed.sinceMs > triesForMs) throw error;
    this.phase = 'waiting';
    this.waitsFor = error;
    this.doneBytes = this.#sentBytes;
    this.bytesPerSecond = undefined;
    await pause(pauseMs(failed.tries), signal);
    failed.tries += 1;
    signal.throwIfAborted();
  }

  async #upload(
    file: File,
    fields: NewFile,
    unfinished: StoredFile | undefined,
    { signal, rate, digest }: Try,
  ): Promise<boolean> {
    // While it tries again, that is what is shown until something arrives.
    if (this.waitsFor === undefined) this.phase = 'beginning';
    const begun = this.#known ?? unfinished;
    const known =
      begun === undefined
        ? await createFile({ ...fields, size: file.size })
        : await getFile(begun.id, signal);
    this.#known = known;
    this.waitsFor = undefined;
    this.#sentBytes = known.receivedBytes;
    this.doneBytes = known.receivedBytes;
    this.allBytes = known.size;
    if (begun === undefined) this.#file = file;
    signal.throwIfAborted();
    if (known.receivedBytes > 0 && this.#file !== file) {
      this.problem = await this.#differenceOf(file, known, { signal, digest });
      if (this.problem !== undefined) return false;
    }
    this.#file = file;
    this.phase = 'sending';
    this.doneBytes = known.receivedBytes;
    this.allBytes = known.size;
    // Without another thread, it would hold up the page for as long as the upload may take.
    if (hasThreads()) this.#sha256 ??= digest.upTo(known.size, () => {});
    // Waited for once everything is sent; until then, that the file can't be read is for whoever sends it to say.
    this.#sha256?.catch(() => {});
    await uploadContent(known, file, {
      signal,
      sha256: this.#sha256,
      beginsSmall: this.#failed.tries > 0,
      onSent: (bytes) => {
        if (bytes > this.#sentBytes) this.#failed.tries = 0;
        this.#sentBytes = bytes;
        this.doneBytes = bytes;
        this.#measure(rate);
        if (bytes >= known.size) this.phase = 'verifying';
      },
    });
    return true;
  }

  /** Compares what has arrived with the beginning of the file. Returns what is wrong, if anything is. */
  async #differenceOf(
    file: File,
    known: StoredFile,
    { signal, digest }: Pick<Try, 'signal' | 'digest'>,
  ): Promise<string | undefined> {
    if (file.size !== known.size)
      return differs(`it has ${count(file.size)} bytes, not ${count(known.size)}`);
    this.phase = 'comparing';
    this.doneBytes = 0;
    this.allBytes = known.receivedBytes;
    const onRead = (bytes: number) => {
      this.doneBytes = bytes;
    };
    const [received] = await Promise.all([
      digestOfReceived(known, signal),
      digest.upTo(known.receivedBytes, onRead),
    ]);
    // Another page may be sending it.
    if ((await digest.upTo(received.receivedBytes, onRead)) === received.sha256) return undefined;
    return differs(`its first ${byteSize(received.receivedBytes)} are not what was uploaded`);
  }

  #measure(rate: SmoothedRate): void {
    if (this.phase !== 'sending') return;
    rate.note(this.doneBytes, performance.now());
    this.bytesPerSecond = rate.bytesPerSecond;
  }
}

/** Returns whether the server has another number of bytes than the one that was to go on. */
function isConflict(error: unknown): boolean {
  return error instanceof ApiError && error.details.some(({ path }) => path === 'query.offset');
}

const differs = (how: string) =>
  `This is another file: ${how}. Choose the one that the upload began with, or discard the upload.`;
