// The one way to the server: errors become ApiError, a lost session and a lost connection are told to whoever
// asked to know.
import type { ErrorBody, ErrorCode, ErrorDetail } from '@opsconductor/protocol';

/**
 * `offline`: no answer came. `untrusted`: what the server offers to seal to is not what the segment's root has signed. The
 * rest are the server's codes.
 */
export type ApiErrorCode = ErrorCode | 'offline' | 'untrusted';

export class ApiError extends Error {
  override name = 'ApiError';
  readonly code: ApiErrorCode;
  readonly status: number;
  readonly requestId: string | undefined;
  readonly details: readonly ErrorDetail[];
  /** Both sides, of a save that another one came before. */
  readonly conflict: unknown;
  /** It was to change something, and whether it did is not known. */
  readonly mayBeDone: boolean;
  /** Whoever asked asks again without being told to. */
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

/** Whether the same may go well a while later, with nobody doing anything. */
export function isPassing({ code }: ApiError): boolean {
  return code === 'offline' || code === 'unavailable' || code === 'rate_limited';
}

export interface Watcher {
  /** The session is gone or never was. */
  onUnauthenticated(): void;
  /** While the session is over whose page stands: resolves when its user is back, never for another. */
  whenBack?(): Promise<void> | undefined;
  /** The person may not do this, or not there. */
  onForbidden?(): void;
  /** Whether the last request got any answer. */
  onReachable(reachable: boolean): void;
}

let watcher: Watcher | undefined;
export function watchApi(next: Watcher): void {
  watcher = next;
}

export interface RequestOptions {
  body?: unknown;
  /** A file as it is, in place of a body. */
  file?: { content: Blob; type: string };
  signal?: AbortSignal | undefined;
  headers?: Record<string, string>;
  /** Asking twice does no more than asking once, though it is no GET: it looks, tries or plans. */
  harmless?: boolean;
  /** Who is signed in: asked and answered whoever that is. */
  isOfSession?: boolean;
}

/** Whether what gets no answer may have changed something. */
const mayChange = (method: string, { harmless }: RequestOptions) => method !== 'GET' && harmless !== true;

/**
 * Sends a request and answers the response once it is a success. Throws ApiError, or AbortError when aborted. While the
 * session is over nothing is asked: what a page reads waits until its user is back. What changes something is refused,
 * and what is read on the way to that, which nobody gives up by a signal: it is to be asked for by someone who is there.
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

async function sendOnce(method: string, url: string, options: RequestOptions): Promise<Response> {
  const headers: Record<string, string> = { accept: 'application/json', ...options.headers };
  const { file } = options;
  const body = file?.content ?? (options.body === undefined ? undefined : JSON.stringify(options.body));
  if (body !== undefined) headers['content-type'] = file?.type ?? 'application/json';
  let response: Response;
  try {
    response = await fetch(url, {
      method,
      headers,
      credentials: 'same-origin',
      cache: 'no-store',
      ...(body === undefined ? {} : { body }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
  } catch (error) {
    if (options.signal?.aborted === true) throw error;
    watcher?.onReachable(false);
    const mayBeDone = mayChange(method, options);
    throw new ApiError('offline', 'The server did not answer.', { mayBeDone, cause: error });
  }
  // A gateway that answers for a server that is down is no answer of the server.
  const reached = response.status !== 502 && response.status !== 504;
  watcher?.onReachable(reached);
  if (response.ok) return response;
  const error = await errorOf(response, mayChange(method, options));
  if (error.code === 'unauthenticated') watcher?.onUnauthenticated();
  if (error.code === 'forbidden') watcher?.onForbidden?.();
  throw error;
}

/** Sends a request and reads the JSON of its answer; undefined for 204. */
export async function request<T>(method: string, url: string, options: RequestOptions = {}): Promise<T> {
  const response = await send(method, url, options);
  if (response.status === 204) return undefined as T;
  try {
    return (await response.json()) as T;
  } catch (error) {
    if (options.signal?.aborted === true) throw error;
    const mayBeDone = mayChange(method, options);
    throw new ApiError('offline', 'The answer broke off.', {
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
  // A server that has lost its database may have lost it after the commit.
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
    // Not ours: a proxy's page, or nothing.
    const code = codeOfStatus[status] ?? 'internal';
    return new ApiError(code, `The answer was HTTP ${status}.`, { status, mayBeDone });
  }
}
