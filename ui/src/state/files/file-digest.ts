// The SHA-256 of the beginning of a file, up to one place after the other: computed on a thread of its own, so that the
// page keeps answering, or on the page's where there are no others.
import type { Asked, Told } from './digest-worker.ts';
import { DigestedFile } from './digested-file.ts';

export interface FileDigest {
  /** Resolves with the digest of the first `end` bytes, in hex. Calls come one after the other, each further on. */
  upTo(end: number, onRead: (bytes: number) => void): Promise<string>;
  /** Stops reading; a call that waits is rejected. */
  stop(): void;
}

/** Whether digests are computed without holding up the page. */
export const hasThreads = (): boolean => typeof Worker !== 'undefined';

export function digestOf(file: File): FileDigest {
  return hasThreads() ? new DigestOnThread(file) : new DigestedFile(file);
}

class DigestOnThread implements FileDigest {
  readonly #worker = new Worker(new URL('./digest-worker.ts', import.meta.url), { type: 'module' });
  #reject: ((error: unknown) => void) | undefined;

  constructor(file: File) {
    this.#ask({ file });
  }

  upTo(end: number, onRead: (bytes: number) => void): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      this.#worker.onmessage = ({ data }: MessageEvent<Told>) => {
        if ('read' in data) onRead(data.read);
        else if ('hex' in data) resolve(data.hex);
        else reject(new DOMException(data.message, data.name));
      };
      this.#worker.onerror = ({ message }) => reject(new Error(`The thread for digests failed: ${message}`));
      this.#ask({ end });
    });
  }

  stop(): void {
    this.#worker.terminate();
    this.#reject?.(new DOMException('Stopped.', 'AbortError'));
  }

  #ask(asked: Asked): void {
    this.#worker.postMessage(asked);
  }
}
