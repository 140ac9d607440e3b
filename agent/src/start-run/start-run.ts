// `opsconductor-agent start-run`: starts a run by the API as a script does, and seals its secret parameters on this machine
// first, so that neither the server nor whoever stands in between sees them.
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import {
  type RunSealingKeys,
  RunSealingKeysRequestSchema,
  RunSealingKeysSchema,
  type SecretParameters,
} from '@opsconductor/protocol';
import { SealingError, sealRunValue } from '@opsconductor/protocol/sealing';
import { Check } from 'typebox/value';
import { AgentError } from '../agent-error.ts';
import type { ProxySettings } from '../connection/proxy.ts';
import { type JsonReply, requestJson, type ServerAccess } from '../enrollment/post-json.ts';
import { establishTrust, parseServerUrl } from '../enrollment/server-trust.ts';
import { explainReachError } from '../explain-error.ts';
import { KnownRoots } from './known-roots.ts';

export interface StartRun {
  server: string;
  caPin?: string | undefined;
  caFile?: string | undefined;
  proxy: ProxySettings;
  token: string;
  jobId: number;
  /** The body of the start; not looked at here but for what says where the run goes. */
  request: Record<string, unknown>;
  /** By name. They leave this process sealed or not at all. */
  secrets: Readonly<Record<string, string>>;
  /** File of the roots that are known. */
  roots?: string | undefined;
  learnRoots: boolean;
}

/** Rosters name each agent of a segment, and a run may go to many segments. */
const maxKeysBytes = 64 * 1024 * 1024;
/** The start is asked for again so often where its answer is lost, by the same key: that makes no second run. */
const tries = 5;
const maxPauseS = 30;

/** Answers what the server says of the run. @throws {AgentError} for everything that a person can mend. */
export async function startRun(
  options: StartRun,
  pause: (ms: number) => Promise<unknown> = delay,
): Promise<unknown> {
  const { jobId, request, secrets } = options;
  refuseDoubled(request, secrets);
  if (options.learnRoots && options.roots === undefined) {
    throw new AgentError('--learn-roots has no file to write to.', 'Name one by --roots.');
  }
  const server = parseServerUrl(options.server);
  const { caPin, caFile, proxy, token } = options;
  const ca = await establishTrust({ server, caPin, tokenPin: undefined, caFile, proxy });
  const api = new Api({ server: server.origin, ca, proxy }, token, pause);
  const secretParameters = await sealAll(api, options);
  return api.post(`/api/v1/jobs/${jobId}/run`, {
    ...request,
    ...(secretParameters === undefined ? {} : { secretParameters }),
  });
}

function refuseDoubled(request: Record<string, unknown>, secrets: Readonly<Record<string, string>>): void {
  const names = Object.keys(secrets);
  if (names.length > 0 && 'secretParameters' in request) {
    throw new AgentError(
      'The request has secretParameters already, which are sealed.',
      'Give all secrets by --secrets, or leave that out.',
    );
  }
  const parameters = Object(request.parameters) as object;
  const twice = names.find((name) => Object.hasOwn(parameters, name));
  if (twice === undefined) return;
  throw new AgentError(
    `${twice} is in the file of --secrets and in the parameters of the request, where it would be sent as it is.`,
    'Take it out of the parameters.',
  );
}

async function sealAll(
  api: Api,
  { jobId, request, secrets, roots, learnRoots }: StartRun,
): Promise<SecretParameters | undefined> {
  const names = Object.keys(secrets);
  if (names.length === 0) return undefined;
  const known = await KnownRoots.read(roots, learnRoots);
  const where = Object.keys(RunSealingKeysRequestSchema.properties).filter((name) => name in request);
  const selection = Object.fromEntries(where.map((name) => [name, request[name]]));
  const { segments } = await api.sealingKeys(jobId, selection);
  const id = randomUUID();
  const values: SecretParameters['values'] = Object.fromEntries(names.map((name) => [name, []]));
  for (const segment of segments) {
    const { segmentPublicKey, ...key } = await known.verify(segment);
    for (const name of names) {
      const binding = { ...key, jobId, id, step: '', name };
      const sealed = await sealRunValue({ segmentPublicKey, binding, value: secrets[name] ?? '' }).catch(
        (error: unknown) => {
          if (!(error instanceof SealingError)) throw error;
          throw new AgentError(`${name} can't be sealed: ${error.message}.`, 'Give a shorter value.', {
            cause: error,
          });
        },
      );
      values[name]?.push({ segmentId: key.segmentId, sealed });
    }
  }
  await known.save();
  return { id, values };
}

class Api {
  readonly #access: ServerAccess;
  readonly #headers: Record<string, string>;
  readonly #pause: (ms: number) => Promise<unknown>;

  constructor(access: ServerAccess, token: string, pause: (ms: number) => Promise<unknown>) {
    this.#access = access;
    this.#headers = { authorization: `Bearer ${token}`, 'idempotency-key': randomUUID() };
    this.#pause = pause;
  }

  async sealingKeys(jobId: number, selection: object): Promise<RunSealingKeys> {
    const keys = await this.post(`/api/v1/jobs/${jobId}/sealing-keys`, selection);
    if (Check(RunSealingKeysSchema, keys) && keys.jobId === jobId) return keys;
    throw this.#strange();
  }

  /** Again where no answer came, or where the server asks for patience. */
  async post(path: string, body: unknown): Promise<unknown> {
    const options = { headers: this.#headers, maxReplyBytes: maxKeysBytes };
    for (let attempt = 1; ; attempt += 1) {
      const isLast = attempt === tries;
      const reply = await requestJson(this.#access, path, body, options).catch((error: unknown) => {
        if (isLast) throw explainReachError(error, this.#access.server, this.#access.proxy);
        return undefined;
      });
      const isPatient = reply === undefined || [429, 502, 503, 504].includes(reply.status);
      if (!isPatient || isLast) return this.#answerOf(reply as JsonReply);
      await this.#pause(Math.min(maxPauseS, reply?.retryAfterS ?? 2 ** (attempt - 1)) * 1_000);
    }
  }

  #answerOf({ status, body }: JsonReply): unknown {
    if (status >= 200 && status < 300) return body;
    const { error } = Object(body) as { error?: { message?: unknown; details?: unknown } };
    if (typeof error?.message !== 'string') throw this.#strange(status);
    const details = (Array.isArray(error.details) ? error.details : []) as Record<string, unknown>[];
    const told = details.map(({ path, message, allowed }) =>
      [path, message, allowed === undefined ? '' : `Allowed: ${allowed}.`].filter(Boolean).join(' '),
    );
    throw new AgentError(
      `The server refused: ${[error.message, ...told.filter((one) => !one.includes(String(error.message)))].join('\n       ')}`,
      fixes[status] ?? 'Correct what the server names, and run the command again.',
    );
  }

  #strange(status?: number): AgentError {
    return new AgentError(
      `${this.#access.server} answered in a way that this program does not understand${status === undefined ? '' : ` (HTTP ${status})`}.`,
      'Check that the address is that of an OpsConductor server, and that its version fits this program.',
    );
  }
}

const fixes: Record<number, string> = {
  401: 'Make a new API token in the console, or check whether this one has expired.',
  403: 'Ask an administrator for the permission that the message names.',
  404: 'Look at the id of the job, and whether who the token belongs to may see and run it.',
  429: 'Wait a minute and run the command again.',
};
