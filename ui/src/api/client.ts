// The one way to the server. Errors become ApiError; a watcher hears of a lost session or connection.
import type { ErrorBody, ErrorCode, ErrorDetail } from '@opsconductor/protocol';
import { serverAnswered } from './pauses.ts';

/**
 * `offline`: no answer came. `untrusted`: the sealing key that the server offers is not the one that the segment's root
 * signed. The others are the server's codes.
 */
export type ApiErrorCode = ErrorCode | 'offline' | 'untrusted';

export class ApiError extends Error {
  override name = 'ApiError';
  readonly code: ApiErrorCode;
  readonly status: number;
  readonly requestId: string | undefined;
  readonly details: readonly ErrorDetail[];
  /** Of a save that lost to another one: both sides. */
  readonly conflict: unknown;
  /** Whether the request may have changed something although it failed. */
  readonly mayBeDone: boolean;
  /** Whether the caller retries by itself. */
  asksAgain = false;

  constructor(
    code: ApiErrorCode,
    message: string,
    more: {
      status?: number;
      requestId?: string;
      details?: readonly ErrorDetail[];
      conflict?: unknown;
      mayBeDone?: boolean;
      cause?: unknown;
    } = {},
  ) {
    super(message, { cause: more.cause });
    this.code = code;
    this.status = more.status ?? 0;
    this.requestId = more.requestId;
    this.details = more.details ?? [];
    this.conflict = more.conflict;
    this.mayBeDone = more.mayBeDone ?? false;
  }
}

/** Returns what to show for an error: whatever is no `ApiError` is a fault of the console. */
export function failureOf(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  return new ApiError('internal', 'The console had an internal error.', { cause: error });
}

/** Returns whether a retry may succeed after a while without anyone doing anything. */
export function isPassing({ code }: ApiError): boolean {
  return code === 'offline' || code === 'unavailable' || code === 'rate_limited';
}

export interface Watcher {
  /** Called when there is no session (any more). */
  onUnauthenticated(): void;
  /**
   * Returns a promise while the session has ended but its page is still shown, else undefined. It resolves when the
   * same user is back, and never for another user.
   */
  whenBack?(): Promise<void> | undefined;
  /** Called when the person lacks the right to do something, or to do it there. */
  onForbidden?(): void;
  /** Called after each request with whether the server answered it. */
  onReachable(reachable: boolean): void;
}

let watcher: Watcher | undefined;
export function watchApi(next: Watcher): void {
  watcher = next;
}

export interface RequestOptions {
  body?: unknown;
  /** A file to send unchanged, instead of `body`. */
  file?: { content: Blob; type: string };
  signal?: AbortSignal | undefined;
  headers?: Record<string, string>;
  /** Not a GET, but safe to repeat: it only looks, tries or plans. */
  harmless?: boolean;
  /** Gives up if no answer has begun after so long, as if the connection were lost. By default, the browser decides. */
  answerWithinMs?: number;
  /** The request is about the session itself, so it is sent even if the session has ended. */
  isOfSession?: boolean;
}

/** Returns whether a request may have changed something if it got no answer. */
const mayChange = (method: string, { harmless }: RequestOptions) => method !== 'GET' && harmless !== true;

/**
 * Sends a request and returns a successful response. Once the session has ended, nothing is sent: reads with a signal
 * (those of a page) wait until the user is back. Changes are refused, and so are reads without a signal, since they
 * prepare a change: a change needs someone who is there.
 * @throws ApiError; the signal's reason if aborted
 */
export async function send(method: string, url: string, options: RequestOptions = {}): Promise<Response> {
  if (options.isOfSession === true) return sendOnce(method, url, options);
  const waits = options.signal !== undefined && !mayChange(method, options);
  for (;;) {
    const back = watcher?.whenBack?.();
    if (back !== undefined) {
      if (!waits) throw new ApiError('unauthenticated', 'Your session has ended.', { status: 401 });
      await unlessAborted(back, options.signal);
      continue;
    }
    try {
      return await sendOnce(method, url, options);
    } catch (error) {
      const isOver = error instanceof ApiError && error.code === 'unauthenticated';
      if (!isOver || !waits || watcher?.whenBack?.() === undefined) throw error;
    }
  }
}

function unlessAborted(back: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return back;
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason);
    if (signal.aborted) return stop();
    signal.addEventListener('abort', stop, { once: true });
    void back.then(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    });
  });
}

function reached(answered: boolean): void {
  watcher?.onReachable(answered);
  serverAnswered(answered);
}

async function sendOnce(method: string, url: string, options: RequestOptions): Promise<Response> {
  const headers: Record<string, string> = { accept: 'application/json', ...options.headers };
  const { file } = options;
  const body = file?.content ?? (options.body === undefined ? undefined : JSON.stringify(options.body));
  if (body !== undefined) headers['content-type'] = file?.type ?? 'application/json';
  let response: Response;
  const late = new AbortController();
  const { signal, answerWithinMs } = options;
  const timer = answerWithinMs === undefined ? undefined : setTimeout(() => late.abort(), answerWithinMs);
  const until =
    timer === undefined ? signal : AbortSignal.any([late.signal, ...(signal === undefined ? [] : [signal])]);
  try {
    response = await fetch(url, {
      method,
      headers,
      credentials: 'same-origin',
      cache: 'no-store',
      ...(body === undefined ? {} : { body }),
      ...(until === undefined ? {} : { signal: until }),
    });
  } catch (error) {
    if (signal?.aborted === true) throw error;
    reached(false);
    const mayBeDone = mayChange(method, options);
    throw new ApiError('offline', 'The server did not answer.', { mayBeDone, cause: error });
  } finally {
    clearTimeout(timer);
  }
  // A gateway's answer on behalf of a server that is down doesn't count as an answer.
  reached(response.status !== 502 && response.status !== 504);
  if (response.ok) return response;
  const error = await errorOf(response, mayChange(method, options));
  if (error.code === 'unauthenticated') watcher?.onUnauthenticated();
  if (error.code === 'forbidden') watcher?.onForbidden?.();
  throw error;
}

/** Sends a request and returns the JSON of its answer; undefined for 204. */
export async function request<T>(method: string, url: string, options: RequestOptions = {}): Promise<T> {
  const response = await send(method, url, options);
  if (response.status === 204) return undefined as T;
  try {
    return (await response.json()) as T;
  } catch (error) {
    if (options.signal?.aborted === true) throw error;
    const mayBeDone = mayChange(method, options);
    throw new ApiError('offline', 'The server’s answer was cut off.', {
      status: response.status,
      mayBeDone,
      cause: error,
    });
  }
}

const codeOfStatus: Record<number, ApiErrorCode> = {
  400: 'invalid',
  401: 'unauthenticated',
  403: 'forbidden',
  404: 'not_found',
  409: 'conflict',
  413: 'too_large',
  429: 'rate_limited',
  502: 'offline',
  503: 'unavailable',
  504: 'offline',
};

async function errorOf(response: Response, mayChange: boolean): Promise<ApiError> {
  const text = await response.text().catch(() => '');
  // A server that lost its database (503) may have lost it after the commit.
  const { status } = response;
  const mayBeDone = mayChange && (status === 502 || status === 503 || status === 504);
  try {
    const { error } = JSON.parse(text) as ErrorBody;
    return new ApiError(error.code, error.message, {
      status,
      requestId: error.requestId,
      details: error.details ?? [],
      conflict: (error as { conflict?: unknown }).conflict,
      mayBeDone,
    });
  } catch {
    // Not an error of our server: a proxy's page, or nothing.
    const code = codeOfStatus[status] ?? 'internal';
    return new ApiError(code, `The server answered with HTTP ${status}.`, { status, mayBeDone });
  }
}
