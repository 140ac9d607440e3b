// The one thread of this agent that reads and writes small files, while any transfer needs it.
import { Worker } from 'node:worker_threads';
import { type FilesReply, type FilesRequest, serveFiles } from './serve-files.ts';

// A thread has no TypeScript of its own and the agent is one file: it is given the text of the function. What compilers
// add to name functions by is nothing here.
const source = `
  const __name = (named) => named;
  (${serveFiles.toString()})(require('node:worker_threads').parentPort, require('node:fs'));
`;
/** Its lists of names are soon gone: what V8 would give it unasked is memory for nothing. */
const resourceLimits = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 2 };

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

  /** The thread that others use, or a new one. Give it back with `release`. */
  static take(): FileThread {
    FileThread.#current ??= new FileThread();
    FileThread.#current.#users += 1;
    return FileThread.#current;
  }

  async release(): Promise<void> {
    this.#users -= 1;
    if (this.#users > 0) return;
    if (FileThread.#current === this) FileThread.#current = undefined;
    await this.#worker.terminate();
  }

  /** Undefined where the thread is over, or something is wrong that is told of by doing it without. */
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
