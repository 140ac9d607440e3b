// Seals a credential on the owner's machine to the key that the segment's roster names; the segment's root is known
// here. Only agents of the segment can open what reaches the server.
import { randomUUID } from 'node:crypto';
import {
  type Credential,
  CredentialSchema,
  Page,
  SealingKeySchema,
  SegmentListSchema,
} from '@opsconductor/protocol';
import { type CredentialSecret, credentialProblems, sealCredential } from '@opsconductor/protocol/sealing';
import { AgentError } from '../../agent-error.ts';
import type { Api } from '../../start-run/api-client.ts';
import type { KnownRoots, SegmentKey } from '../../start-run/known-roots.ts';

export interface SealRequest {
  segmentName: string;
  /** Name of the credential. */
  name: string;
  description?: string | undefined;
  /** Last day on which the secret should be used. */
  expiresOn?: string | undefined;
  secret: CredentialSecret;
  /** Whether it replaces the credential of that name. */
  replace: boolean;
}

/** @throws {AgentError} for everything that a person can fix; it contains nothing of the secret. */
export async function storeSealed(api: Api, roots: KnownRoots, request: SealRequest): Promise<Credential> {
  refuseProblems(request.secret);
  const key = await segmentKey(api, roots, request.segmentName);
  const before = await credentialNamed(api, key.segmentId, request.name);
  const { replace, secret, name, segmentName } = request;
  if (replace !== (before !== undefined)) {
    throw new AgentError(
      `Segment ${segmentName} has ${replace ? 'no' : 'a'} credential named ${name}${replace ? '' : ' already'}.`,
      replace ? 'Leave --replace out to create it.' : 'Add --replace to put the new secret in its place.',
    );
  }
  if (before !== undefined && before.kind !== secret.kind) {
    throw new AgentError(
      `Credential ${name} is a ${before.kind}, not a ${secret.kind}.`,
      'Give the new secret another name.',
    );
  }
  const id = before?.id ?? randomUUID();
  const version = (before?.version ?? 0) + 1;
  const { segmentPublicKey, ...of } = key;
  const binding = { ...of, credentialId: id, version, kind: secret.kind };
  const sealed = await sealCredential({ segmentPublicKey, binding, secret });
  const about = {
    sealed,
    ...(request.description === undefined ? {} : { description: request.description }),
    ...(request.expiresOn === undefined ? {} : { expiresOn: request.expiresOn }),
  };
  if (before !== undefined) {
    return api.post(`/api/v1/credentials/${id}/versions`, { version, ...about }, CredentialSchema);
  }
  const made = { id, segmentId: of.segmentId, name, kind: secret.kind, ...about };
  return api.post('/api/v1/credentials', made, CredentialSchema);
}

function refuseProblems(secret: CredentialSecret): void {
  const problems = credentialProblems(secret).map(({ path, message }) => `${path} ${message}`);
  if (problems.length === 0) return;
  throw new AgentError(
    `The credential is not valid: ${problems.join('; ')}.`,
    'Correct these values; nothing was sent.',
  );
}

/** Returns the key that the roster names, for exactly the segment that was asked for. */
async function segmentKey(api: Api, roots: KnownRoots, segmentName: string): Promise<SegmentKey> {
  const known = roots.mayLearn(segmentName) ? undefined : roots.named(segmentName);
  const segmentId = known?.segmentId ?? (await segmentNamed(api, segmentName));
  const offered = await api.get(`/api/v1/segments/${segmentId}/sealing-key`, SealingKeySchema);
  // Another segment may be known here too, and be trusted less.
  const isOther = known !== undefined && offered.installationId !== known.installationId;
  if (isOther || offered.segmentId !== segmentId) {
    throw new AgentError(
      `The server answered with the key of another segment than ${segmentName}, or is another installation.`,
      'Check the address. If it is right, stop, and ask whoever runs the server.',
    );
  }
  const key = await roots.verify({ ...offered, segmentName });
  await roots.save();
  return key;
}

async function segmentNamed(api: Api, segmentName: string): Promise<number> {
  const { items } = await api.get('/api/v1/segments', SegmentListSchema);
  const found = items.find(({ name }) => name === segmentName);
  if (found !== undefined) return found.id;
  throw new AgentError(
    `The server has no segment named ${segmentName}, or you may not see it.`,
    'Correct the name, or ask for the right to read the segment. Nothing was sent.',
  );
}

async function credentialNamed(api: Api, segmentId: number, name: string): Promise<Credential | undefined> {
  let cursor: string | null = null;
  do {
    const query = new URLSearchParams({
      segmentId: String(segmentId),
      ...(cursor === null ? {} : { cursor }),
    });
    const page: { items: Credential[]; nextCursor: string | null } = await api.get(
      `/api/v1/credentials?${query}`,
      Page(CredentialSchema),
    );
    const found = page.items.find((one) => one.name === name);
    if (found !== undefined) return found;
    cursor = page.nextCursor;
  } while (cursor !== null);
  return undefined;
}
