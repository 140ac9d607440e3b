// `opsconductor-agent start-run`: starts a run through the API as a script does. It first seals the secret parameters
// on this machine, so that neither the server nor anyone in between sees them.
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import {
  RunSealingKeysRequestSchema,
  RunSealingKeysSchema,
  type SecretParameters,
} from '@opsconductor/protocol';
import { SealingError, sealRunValue } from '@opsconductor/protocol/sealing';
import { Type } from 'typebox';
import { AgentError } from '../agent-error.ts';
import { type ApiAccess, ApiClient } from './api-client.ts';
import { KnownRoots } from './known-roots.ts';

export interface StartRun extends ApiAccess {
  jobId: number;
  /** The body of the start. Only the part that says where the run goes is looked at here. */
  request: Record<string, unknown>;
  /** Secrets by name. They leave this process sealed or not at all. */
  secrets: Readonly<Record<string, string>>;
  /** File of the known roots. */
  roots?: string | undefined;
  learnRoots: boolean;
}

const notFoundFix = 'Check the id of the job, and whether the owner of the token may see and run it.';

/**
 * Returns what the server says about the run.
 *
 * @throws {AgentError} for everything that a person can fix.
 */
export async function startRun(
  options: StartRun,
  pause: (ms: number) => Promise<unknown> = delay,
): Promise<unknown> {
  const { jobId, request, secrets } = options;
  refuseDoubled(request, secrets);
  if (options.learnRoots && options.roots === undefined) {
    throw new AgentError('--learn-roots has no file to write to.', 'Name one with --roots.');
  }
  const api = await ApiClient.connect(options, { pause, notFoundFix });
  const secretParameters = await sealAll(api, options);
  const start = { ...request, ...(secretParameters === undefined ? {} : { secretParameters }) };
  return api.post(`/api/v1/jobs/${jobId}/run`, start, Type.Unknown());
}

function refuseDoubled(request: Record<string, unknown>, secrets: Readonly<Record<string, string>>): void {
  const names = Object.keys(secrets);
  if (names.length > 0 && 'secretParameters' in request) {
    throw new AgentError(
      'The request already has secretParameters, which are sealed.',
      'Give all secrets with --secrets, or leave that out.',
    );
  }
  const parameters = Object(request.parameters) as object;
  const twice = names.find((name) => Object.hasOwn(parameters, name));
  if (twice === undefined) return;
  throw new AgentError(
    `${twice} is in the file of --secrets and also in the parameters of the request, where it would be sent unsealed.`,
    'Remove it from the parameters.',
  );
}

async function sealAll(
  api: ApiClient,
  { jobId, request, secrets, roots, learnRoots }: StartRun,
): Promise<SecretParameters | undefined> {
  const names = Object.keys(secrets);
  if (names.length === 0) return undefined;
  const known = await KnownRoots.read(roots, learnRoots);
  const where = Object.keys(RunSealingKeysRequestSchema.properties).filter((name) => name in request);
  const selection = Object.fromEntries(where.map((name) => [name, request[name]]));
  const path = `/api/v1/jobs/${jobId}/sealing-keys`;
  const { segments, ...of } = await api.post(path, selection, RunSealingKeysSchema);
  if (of.jobId !== jobId) throw api.strange();
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
