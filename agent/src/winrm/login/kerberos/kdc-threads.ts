// Threads that wait for KDCs. A call to a KDC that does not answer takes half a minute and can't be cancelled. On
// Node's thread pool for files and names, four such calls would hold up everything else that this agent does.
import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import { kerberosUnusable } from './gss-failure.ts';
import { type KdcReply, type KdcRequest, serveKdc } from './serve-kdc.ts';

/** At most this many threads for one realm, so that another realm's KDC is asked while the first does not answer. */
const maxPerRealm = 2;
const maxThreads = 4;
const idleMs = 30_000;
const maxHeapMb = 32;

// A thread can't load TypeScript and the agent is a single file, so the thread is given the text of the function.
// `__name`, which compilers add to name functions, does nothing here.
const source = `
  const { parentPort, workerData } = require('node:worker_threads');
  const __name = (named) => named;
  (${serveKdc.toString()})(parentPort, require(workerData.koffi), workerData.names);
`;

interface Asked {
  realm: string;
  request: KdcRequest;
  resolve(reply: KdcReply): void;
  reject(reason: unknown): void;
}

interface Thread {
  worker: Worker;
  /** What the thread is doing. */
  asked: Asked | undefined;
  idle: NodeJS.Timeout | undefined;
}

export class KdcThreads {
  readonly #names: { gssapi: string; krb5: string };
  readonly #threads = new Set<Thread>();
  #waiting: Asked[] = [];

  constructor(names: { gssapi: string; krb5: string }) {
    this.#names = names;
  }

  /**
   * Resolves when a thread has done it. Work that a thread has begun goes on when the signal is aborted: the caller has
   * to take care of the result, but need not wait for it (`abortable`).
   *
   * @throws the signal's reason, if it had not begun; a {@link WinrmError} of kind `auth_unavailable` if no thread can
   * do it.
   */
  ask(request: KdcRequest, realm: string, signal?: AbortSignal): Promise<KdcReply> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const asked: Asked = { realm, request, resolve, reject };
      const onAbort = () => {
        const at = this.#waiting.indexOf(asked);
        if (at === -1) return;
        this.#waiting.splice(at, 1);
        reject(signal?.reason);
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      const settled = () => signal?.removeEventListener('abort', onAbort);
      asked.resolve = (reply) => {
        settled();
        resolve(reply);
      };
      asked.reject = (reason) => {
        settled();
        reject(reason);
      };
      this.#waiting.push(asked);
      this.#next();
    });
  }

  #next(): void {
    for (;;) {
      const at = this.#waiting.findIndex(({ realm }) => this.#busyWith(realm) < maxPerRealm);
      if (at === -1) return;
      let thread: Thread | undefined;
      try {
        thread = [...this.#threads].find(({ asked }) => asked === undefined) ?? this.#start();
      } catch (error) {
        // The system has no thread for it: the caller is told, and the others are tried as well.
        this.#waiting.splice(at, 1)[0]?.reject(kerberosUnusable(error));
        continue;
      }
      if (thread === undefined) return;
      const [asked] = this.#waiting.splice(at, 1);
      if (asked === undefined) return;
      clearTimeout(thread.idle);
      thread.asked = asked;
      thread.worker.ref();
      thread.worker.postMessage(asked.request);
    }
  }

  #busyWith(realm: string): number {
    return [...this.#threads].filter(({ asked }) => asked?.realm === realm).length;
  }

  #start(): Thread | undefined {
    if (this.#threads.size >= maxThreads) return undefined;
    const worker = new Worker(source, {
      eval: true,
      execArgv: [],
      workerData: { koffi: createRequire(import.meta.url).resolve('koffi'), names: this.#names },
      resourceLimits: { maxOldGenerationSizeMb: maxHeapMb },
    });
    const thread: Thread = { worker, asked: undefined, idle: undefined };
    this.#threads.add(thread);
    let failure: unknown = new Error('the thread that asks KDCs has ended');
    worker.on('message', (reply: KdcReply) => this.#done(thread, reply));
    worker.on('error', (error) => {
      failure = error;
    });
    worker.on('exit', () => {
      clearTimeout(thread.idle);
      this.#threads.delete(thread);
      thread.asked?.reject(kerberosUnusable(failure));
      this.#next();
    });
    return thread;
  }

  #done(thread: Thread, reply: KdcReply): void {
    const { asked } = thread;
    thread.asked = undefined;
    thread.worker.unref();
    thread.idle = setTimeout(() => {
      // It takes no more work from here on, though it takes a moment to end.
      this.#threads.delete(thread);
      void thread.worker.terminate();
    }, idleMs);
    thread.idle.unref();
    asked?.resolve(reply);
    this.#next();
  }
}
