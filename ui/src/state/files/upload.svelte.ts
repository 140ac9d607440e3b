// The upload of one file. An upload that was interrupted, even on another page, goes on where it stopped, once what has
// arrived is found to be the beginning of the chosen file.
import type { StoredFile } from '@opsconductor/protocol';
import { ApiError } from '../../api/client.ts';
import { createFile, digestOfReceived, getFile, type NewFile, uploadContent } from '../../api/files.ts';
import { byteSize, count } from '../../format/quantity.ts';
import { Action } from '../action.svelte.ts';
import { digestOf, type FileDigest, hasThreads } from './file-digest.ts';
import { SmoothedRate } from './smoothed-rate.ts';

export type UploadPhase = 'beginning' | 'comparing' | 'sending' | 'verifying';

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
  /** Whether it was interrupted because someone else sends it at the same time. */
  isElsewhere = $state(false);
  #known = $state.raw<StoredFile>();
  #sentBytes = 0;
  /** The file that what has arrived is known to be the beginning of. */
  #file: File | undefined;
  #abort: AbortController | undefined;

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
        isWhole = await this.#upload(file, fields, unfinished, { signal: abort.signal, rate });
      } catch (error) {
        if (abort.signal.aborted) return;
        this.isElsewhere =
          error instanceof ApiError && error.details.some(({ path }) => path === 'query.offset');
        if (!(error instanceof DOMException) && !this.isElsewhere) throw error;
        // What has arrived may be of another file.
        this.#file = undefined;
        if (!this.isElsewhere)
          this.problem =
            'It can’t be read any more: it was changed, moved or deleted since it was chosen. Choose it again.';
      } finally {
        clearInterval(watch);
        this.phase = undefined;
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

  async #upload(
    file: File,
    fields: NewFile,
    unfinished: StoredFile | undefined,
    { signal, rate }: { signal: AbortSignal; rate: SmoothedRate },
  ): Promise<boolean> {
    const digest = digestOf(file);
    signal.addEventListener('abort', () => digest.stop());
    try {
      return await this.#uploadDigested(file, fields, unfinished, { signal, rate, digest });
    } finally {
      digest.stop();
    }
  }

  async #uploadDigested(
    file: File,
    fields: NewFile,
    unfinished: StoredFile | undefined,
    { signal, rate, digest }: { signal: AbortSignal; rate: SmoothedRate; digest: FileDigest },
  ): Promise<boolean> {
    this.phase = 'beginning';
    const begun = this.#known ?? unfinished;
    const known =
      begun === undefined
        ? await createFile({ ...fields, size: file.size })
        : await getFile(begun.id, signal);
    this.#known = known;
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
    const sha256 = hasThreads() ? digest.upTo(known.size, () => {}) : undefined;
    // Waited for once everything is sent; until then, that the file can't be read is for whoever sends it to say.
    sha256?.catch(() => {});
    await uploadContent(known, file, {
      signal,
      sha256,
      onSent: (bytes) => {
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
    { signal, digest }: { signal: AbortSignal; digest: FileDigest },
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
      digestOfReceived(known.id, signal),
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

const differs = (how: string) =>
  `This is another file: ${how}. Choose the one that the upload began with, or discard the upload.`;
