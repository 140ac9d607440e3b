// The upload of one file. An interrupted upload resumes where it stopped, as long as the page still has the file.
import type { StoredFile } from '@opsconductor/protocol';
import { createFile, getFile, type NewFile, uploadContent } from '../api/files.ts';
import { Action } from './action.svelte.ts';

export class Upload {
  readonly action = new Action();
  sentBytes = $state(0);
  #begun = $state.raw<StoredFile>();
  readonly #abort = new AbortController();

  /** Whether the server already knows the file, so that resuming sends only the rest. */
  get begun(): boolean {
    return this.#begun !== undefined;
  }

  /** Starts or resumes the upload. Resolves with whether the server has the whole file. */
  run(file: File, fields: NewFile): Promise<boolean> {
    return this.action.run(async () => {
      const { signal } = this.#abort;
      const known =
        this.#begun === undefined
          ? await createFile({ ...fields, size: file.size })
          : await getFile(this.#begun.id, signal);
      this.#begun = known;
      await uploadContent(known, file, {
        signal,
        onSent: (bytes) => {
          this.sentBytes = bytes;
        },
      });
    });
  }

  stop(): void {
    this.#abort.abort();
  }
}
