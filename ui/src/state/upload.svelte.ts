// One file on its way to the server. What broke off goes on where it stands, as long as the page has the file.
import type { StoredFile } from '@opsconductor/protocol';
import { createFile, getFile, type NewFile, uploadContent } from '../api/files.ts';
import { Action } from './action.svelte.ts';

export class Upload {
  readonly action = new Action();
  sentBytes = $state(0);
  #begun = $state.raw<StoredFile>();
  readonly #abort = new AbortController();

  /** Whether the server knows of it, so that going on sends only the rest. */
  get begun(): boolean {
    return this.#begun !== undefined;
  }

  /** Begins it or goes on with it; answers whether the file is there whole. */
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
