// The REST API as a script uses it, over HTTP, or over TLS with a CA that only the caller knows.
import { type IncomingMessage, request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { limits, type Step, type StoredFile } from '@opsconductor/protocol';

export interface ApiReply<T> {
  status: number;
  headers: IncomingMessage['headers'];
  body: T;
  text: string;
}

export interface ApiClientOptions {
  /** Such as `http://127.0.0.1:7700`. */
  url: string;
  /** API token; `undefined` for requests without authentication. */
  token?: string;
  /** PEM. */
  ca?: string;
  /** A Unix socket that leads to the server, if there is no route to it. */
  socketPath?: string;
}

export interface EndedRun {
  status: string;
  steps: Step[];
  /** The text of each step, both streams. */
  output: string[];
}

/** Streams have heartbeats, so nothing may be silent for this long. */
const timeoutMs = 30_000;

export class ApiClient {
  readonly #options: ApiClientOptions;

  constructor(options: ApiClientOptions) {
    this.#options = options;
  }

  get url(): string {
    return this.#options.url;
  }

  get token(): string {
    return this.#options.token ?? '';
  }

  get = <T>(path: string) => this.send<T>('GET', path);
  post = <T>(path: string, body: unknown = {}, headers?: Record<string, string>) =>
    this.send<T>('POST', path, JSON.stringify(body), headers);
  put = <T>(path: string, body: unknown) => this.send<T>('PUT', path, JSON.stringify(body));

  /** Like `post`, for requests that must succeed: otherwise throws with the server's message. */
  async made<T>(path: string, body: unknown = {}): Promise<T> {
    const reply = await this.post<T>(path, body);
    if (reply.status >= 300) throw new Error(`POST ${path} was answered ${reply.status}: ${reply.text}`);
    return reply.body;
  }

  async send<T>(
    method: string,
    path: string,
    body?: string | Buffer,
    headers: Record<string, string> = {},
  ): Promise<ApiReply<T>> {
    const response = await this.#open(method, path, body, headers);
    const parts: Buffer[] = [];
    for await (const part of response) parts.push(part as Buffer);
    const text = Buffer.concat(parts).toString();
    const isJson = response.headers['content-type']?.startsWith('application/json') ?? false;
    return {
      status: response.statusCode ?? 0,
      headers: response.headers,
      body: (isJson ? JSON.parse(text) : undefined) as T,
      text,
    };
  }

  /** Uploads a file for steps to copy. */
  async upload(name: string, bytes: Buffer): Promise<StoredFile> {
    const { id } = await this.made<StoredFile>('/api/v1/files', { name, size: bytes.length });
    for (let offset = 0; offset < bytes.length; offset += limits.maxUploadBytes) {
      const piece = bytes.subarray(offset, offset + limits.maxUploadBytes);
      const path = `/api/v1/files/${id}/content?offset=${offset}`;
      const { status, text } = await this.send('PUT', path, piece, {
        'content-type': 'application/octet-stream',
      });
      if (status !== 200) throw new Error(`PUT ${path} was answered ${status}: ${text}`);
    }
    return this.made<StoredFile>(`/api/v1/files/${id}/finish`);
  }

  /** Follows the run's events to their end, then reads how it ended. */
  async runEnds(runId: number): Promise<EndedRun> {
    const events = await this.#open('GET', `/api/v1/runs/${runId}/events`);
    let tail = '';
    for await (const part of events) {
      tail = (tail + String(part)).slice(-1_000);
      if (tail.includes('event: end')) break;
    }
    const { body: run } = await this.get<{ status: string }>(`/api/v1/runs/${runId}`);
    const { body } = await this.get<{ steps: EndedRun['steps'] }>(`/api/v1/runs/${runId}/steps`);
    const output: string[] = [];
    for (const step of body.steps) {
      const reply = await this.get(`/api/v1/runs/${runId}/steps/${step.id}/output?format=text`);
      output.push(reply.status === 200 ? reply.text : '');
    }
    return { status: run.status, steps: body.steps, output };
  }

  /** Starts a run and waits for its end. */
  async run(jobId: number, targetIds: number[]): Promise<EndedRun> {
    const { id } = await this.made<{ id: number }>(`/api/v1/jobs/${jobId}/run`, { targetIds });
    return this.runEnds(id);
  }

  #open(
    method: string,
    path: string,
    body?: string | Buffer,
    more: Record<string, string> = {},
  ): Promise<IncomingMessage> {
    const { url, token, ca, socketPath } = this.#options;
    const target = new URL(path, url);
    const isTls = target.protocol === 'https:';
    return new Promise((resolve, reject) => {
      const request = (isTls ? requestHttps : requestHttp)(
        target,
        {
          method,
          // An agent would open its connections itself.
          ...(socketPath === undefined ? { agent: false } : {}),
          timeout: timeoutMs,
          ...(ca === undefined ? {} : { ca }),
          ...(socketPath === undefined
            ? {}
            : { createConnection: () => through(socketPath, isTls, target, ca) }),
          headers: {
            // As most clients send: a server that refuses a body then still reads the rest of it, and its answer
            // arrives.
            connection: 'keep-alive',
            ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
            ...(body === undefined
              ? {}
              : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
            ...more,
          },
        },
        resolve,
      );
      request.once('timeout', () => request.destroy(new Error(`no answer to ${method} ${path}`)));
      request.once('error', reject);
      request.end(body);
    });
  }
}

function through(socketPath: string, isTls: boolean, target: URL, ca: string | undefined) {
  const socket = connect(socketPath);
  if (!isTls) return socket;
  return connectTls({ socket, host: target.hostname, ...(ca === undefined ? {} : { ca }) });
}
