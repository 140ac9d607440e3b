// Calls the server's API from a program on somebody's machine: with an API token, over a verified connection, and again
// if no reply came.
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Static, TSchema } from 'typebox';
import { Check } from 'typebox/value';
import { AgentError } from '../agent-error.ts';
import type { ProxySettings } from '../connection/proxy.ts';
import { type JsonReply, requestJson, type ServerAccess } from '../enrollment/request-json.ts';
import { establishTrust, parseServerUrl } from '../enrollment/server-trust.ts';
import { explainReachError } from '../explain-error.ts';

export interface ApiAccess {
  server: string;
  caPin?: string | undefined;
  caFile?: string | undefined;
  proxy: ProxySettings;
  token: string;
}

export interface ApiClientOptions {
  /** What to check if the server has nothing of that name or id. */
  notFoundFix?: string;
  pause?: (ms: number) => Promise<unknown>;
}

/** Rosters name every agent of a segment, and a run may go to many segments. */
const maxReplyBytes = 64 * 1024 * 1024;
/**
 * How often a request is tried if the reply is lost. All tries have the same idempotency key, so a start creates no
 * second run.
 */
const tries = 5;
const maxPauseS = 30;

/** The part that most callers need. */
export type Api = Pick<ApiClient, 'get' | 'post'>;

export class ApiClient {
  readonly #access: ServerAccess;
  readonly #headers: Record<string, string>;
  readonly #options: ApiClientOptions;

  private constructor(access: ServerAccess, token: string, options: ApiClientOptions) {
    this.#access = access;
    this.#headers = { authorization: `Bearer ${token}`, 'idempotency-key': randomUUID() };
    this.#options = options;
  }

  /** @throws {AgentError} if the server is not the one that is named. */
  static async connect(
    { token, proxy, caPin, caFile, ...access }: ApiAccess,
    options: ApiClientOptions = {},
  ): Promise<ApiClient> {
    const server = parseServerUrl(access.server);
    const ca = await establishTrust({ server, caPin, tokenPin: undefined, caFile, proxy });
    return new ApiClient({ server: server.origin, ca, proxy }, token, options);
  }

  /**
   * Returns what the API answers at a path, checked against its schema.
   *
   * @throws {AgentError}
   */
  async get<T extends TSchema>(path: string, schema: T): Promise<Static<T>> {
    return this.#as(schema, await this.#ask(path, undefined));
  }

  /**
   * Posts a body and returns the answer, checked against its schema. Tries again if no reply came, or if the server
   * asks to wait.
   *
   * @throws {AgentError}
   */
  async post<T extends TSchema>(path: string, body: unknown, schema: T): Promise<Static<T>> {
    return this.#as(schema, await this.#ask(path, body));
  }

  #as<T extends TSchema>(schema: T, answer: unknown): Static<T> {
    if (Check(schema, answer)) return answer;
    throw this.strange();
  }

  async #ask(path: string, body: unknown): Promise<unknown> {
    const options = { headers: this.#headers, maxReplyBytes };
    const pause = this.#options.pause ?? delay;
    for (let attempt = 1; ; attempt += 1) {
      const isLast = attempt === tries;
      const reply = await requestJson(this.#access, path, body, options).catch((error: unknown) => {
        if (isLast) throw explainReachError(error, this.#access.server, this.#access.proxy);
        return undefined;
      });
      const isPatient = reply === undefined || [429, 502, 503, 504].includes(reply.status);
      if (!isPatient || isLast) return this.#answerOf(reply as JsonReply);
      await pause(Math.min(maxPauseS, reply?.retryAfterS ?? 2 ** (attempt - 1)) * 1_000);
    }
  }

  #answerOf({ status, body }: JsonReply): unknown {
    if (status >= 200 && status < 300) return body;
    const { error } = Object(body) as { error?: { message?: unknown; details?: unknown } };
    if (typeof error?.message !== 'string') throw this.strange(status);
    const details = (Array.isArray(error.details) ? error.details : []) as Record<string, unknown>[];
    const told = details.map(({ path, message, allowed }) =>
      [path, message, allowed === undefined ? '' : `Allowed: ${allowed}.`].filter(Boolean).join(' '),
    );
    throw new AgentError(
      `The server refused: ${[error.message, ...told.filter((one) => !one.includes(String(error.message)))].join('\n       ')}`,
      (status === 404 ? this.#options.notFoundFix : undefined) ??
        fixes[status] ??
        'Correct what the server names, and run the command again.',
    );
  }

  /** The error for a reply that is not one of this API's. */
  strange(status?: number): AgentError {
    return new AgentError(
      `${this.#access.server} answered in a way that this program does not understand${status === undefined ? '' : ` (HTTP ${status})`}.`,
      'Check that the address is that of an OpsConductor server, and that its version fits this program.',
    );
  }
}

const fixes: Record<number, string> = {
  401: 'Make a new API token in the console, or check whether this one has expired.',
  403: 'Ask an administrator for the permission that the message names.',
  404: 'Check the name or id that was given, and whether the owner of the token may see it.',
  429: 'Wait a minute and run the command again.',
};
