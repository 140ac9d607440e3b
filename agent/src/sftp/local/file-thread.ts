// The agent's one thread for reading and writing small files; it exists while a transfer needs it, and a while longer.
import { Worker } from 'node:worker_threads';
import { type FilesReply, type FilesRequest, serveFiles } from './serve-files.ts';

// The thread is given the text of the function, because the agent is a single file and a worker can't load TypeScript.
// `__name`, which bundlers insert to name functions, does nothing here.
const source = `
  const __name = (named) => named;
  (${serveFiles.toString()})(require('node:worker_threads').parentPort, require('node:fs'));
`;
/** Its lists of names are short-lived, so V8's default limits would only waste memory. */
const resourceLimits = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 2 };
/** How long it is kept for the next transfer. Starting it takes a tenth of the time in which 5,000 files are moved. */
const idleMs = 60_000;

export class FileThread {
  readonly #worker = new Worker(source, {
    eval: true,
    execArgv: [],
    resourceLimits,
  });
  readonly #pending = new Map<number, (reply: FilesReply | undefined) => void>();
  #next = 0;
  #users = 0;
  #isOver = false;
  #ending: NodeJS.Timeout | undefined;
  static #current: FileThread | undefined;

  private constructor() {
    this.#worker.on('message', ({ id, reply }: { id: number; reply: FilesReply | undefined }) =>
      this.#settle(id, reply),
    );
    this.#worker.on('error', () => undefined);
    this.#worker.on('exit', () => {
      this.#isOver = true;
      if (FileThread.#current === this) FileThread.#current = undefined;
      for (const id of [...this.#pending.keys()]) this.#settle(id, undefined);
    });
  }

  /** Returns the running thread, or a new one. The caller must `release` it. */
  static take(): FileThread {
    FileThread.#current ??= new FileThread();
    const thread = FileThread.#current;
    thread.#users += 1;
    clearTimeout(thread.#ending);
    thread.#worker.ref();
    return thread;
  }

  release(): void {
    this.#users -= 1;
    if (this.#users > 0) return;
    // What it is at was given up: it must not go on in a directory that may be closed by then.
    if (this.#pending.size > 0) this.#end();
    else {
      // It doesn't keep the process alive.
      this.#worker.unref();
      this.#ending = setTimeout(() => this.#end(), idleMs).unref();
    }
  }

  #end(): void {
    if (FileThread.#current === this) FileThread.#current = undefined;
    void this.#worker.terminate();
  }

  /** Returns undefined if the thread has ended or failed; doing the same without the thread then shows the error. */
  ask(request: FilesRequest): Promise<FilesReply | undefined> {
    if (this.#isOver) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const id = this.#next++;
      this.#pending.set(id, resolve);
      this.#worker.postMessage({ id, request }, request.do === 'write' ? [request.bytes] : []);
    });
  }

  #settle(id: number, reply: FilesReply | undefined): void {
    this.#pending.get(id)?.(reply);
    this.#pending.delete(id);
  }
}
