// What the first start puts into an empty installation, using the same features that people use: a segment, this
// machine as its target, a credential sealed to the segment, and sample jobs.
import { randomUUID } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseEnrollmentToken } from '@opsconductor/protocol';
import { decodeBase64, sealCredential } from '@opsconductor/protocol/sealing';
import type { Caller } from '../caller.ts';
import { createCredential } from '../credentials/edit-credentials.ts';
import { listCredentials } from '../credentials/list-credentials.ts';
import { notFound } from '../errors.ts';
import { createJob } from '../jobs/create-job.ts';
import { requestKeyOf, startOnce } from '../runs/start/start-once.ts';
import { startRun } from '../runs/start/start-run.ts';
import { createSegment } from '../segments/create-segment.ts';
import {
  createEnrollmentToken,
  hashEnrollmentSecret,
} from '../segments/enrollment/create-enrollment-token.ts';
import { listSegments } from '../segments/list-segments.ts';
import { sealingKeyOf } from '../segments/segment-keys/sealing-key.ts';
import type { RunningServer } from '../server.ts';
import { lockEnrollmentToken } from '../store/agents/enrollment-tokens.ts';
import { listSegmentOverviews } from '../store/agents/segments.ts';
import type { Sql } from '../store/database/connection.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { findJobNamed } from '../store/jobs/jobs.ts';
import { unrestricted } from '../store/people/visibility.ts';
import { createTarget, updateTarget } from '../targets/edit-targets.ts';
import { acceptHostKey, recordSeenHostKey } from '../targets/host-keys.ts';
import { listTargets } from '../targets/list-targets.ts';
import { sampleJobs } from './sample-jobs.ts';

const segmentName = 'quickstart';
const targetName = 'this machine';
/** What the creator of the demo, an administrator, may read: everything. */
const everything = (caller: Caller) => caller.authority.reach('read');

/** Whether nobody has worked in the installation: it has no segment, or only that of the demo. */
export async function hasOnlyDemo({ sql }: RunningServer): Promise<boolean> {
  const segments = await listSegmentOverviews(sql, unrestricted);
  return segments.every(({ name }) => name === segmentName);
}

/** Creates the demo's segment. Its first agent makes the segment key, so the rest follows after enrollment. */
export async function createDemoSegment(server: RunningServer, caller: Caller): Promise<number> {
  const { items } = await listSegments(server.sql, everything(caller));
  const existing = items.find(({ name }) => name === segmentName);
  if (existing !== undefined) return existing.id;
  const segment = await createSegment(
    server.sql,
    server.installation.masterKey,
    {
      name: segmentName,
      description: 'Made by the first start: this machine, for trying things out.',
      unknownAfter: 60,
    },
    caller,
  );
  return segment.id;
}

/**
 * Returns an enrollment token, which is kept until the demo is complete: an interrupted enrollment is repeated with the
 * same token while that is valid.
 */
export async function demoToken(
  server: Pick<RunningServer, 'sql' | 'localUrl' | 'caPin'>,
  folder: string,
  segmentId: number,
  caller: Caller,
): Promise<string> {
  const file = join(folder, 'token');
  const kept = await readFile(file, 'utf8').catch(() => '');
  if (await isGood(server.sql, kept)) return kept;
  const { token } = await createEnrollmentToken(
    { sql: server.sql, publicUrl: server.localUrl, caPin: () => server.caPin, agentSha256: async () => '' },
    segmentId,
    caller,
  );
  await writeFile(`${file}.new`, token, { mode: 0o600 });
  await rename(`${file}.new`, file);
  return token;
}

/** A token that an agent has used stays good for that agent, however old it is. */
async function isGood(sql: Sql, text: string): Promise<boolean> {
  const token = parseEnrollmentToken(text);
  if (token === undefined) return false;
  const row = await inTransaction(sql, (tx) => lockEnrollmentToken(tx, hashEnrollmentSecret(token.secret)));
  return row !== undefined && (row.usedAt !== null || !row.expired);
}

export interface DemoSsh {
  port: number;
  user: string;
  hostKeyLine: string;
  /** OpenSSH text; it is sealed to the segment, and otherwise kept only in the demo's folder. */
  privateKey: string;
}

/** Creates this machine as a target, opened by a key that is sealed to the segment. */
export async function createDemoTarget(
  server: RunningServer,
  segmentId: number,
  ssh: DemoSsh,
  caller: Caller,
  /** The demo's target of an earlier start, which is moved to the new port. */
  existing?: number,
): Promise<number> {
  const { sql } = server;
  const credentialId = await createDemoCredential(server, segmentId, ssh, caller);
  const fields = { name: targetName, host: '127.0.0.1', port: ssh.port, credentialId };
  const { items } = await listTargets(sql, { segmentId }, everything(caller));
  const known = existing ?? items.find(({ name }) => name === targetName)?.id;
  const target =
    known === undefined
      ? await createTarget(sql, { segmentId, ...fields }, caller)
      : await updateTarget(sql, known, fields, caller);
  await trustHostKey(server, target.id, ssh.hostKeyLine, caller);
  return target.id;
}

async function createDemoCredential(
  { sql, installation }: RunningServer,
  segmentId: number,
  ssh: DemoSsh,
  caller: Caller,
): Promise<string> {
  const name = `demo key, port ${ssh.port}`;
  const { items } = await listCredentials(sql, { segmentId }, everything(caller));
  const existing = items.find((credential) => credential.name === name);
  if (existing !== undefined) return existing.id;
  const key = await sealingKeyOf(sql, installation.installationId, segmentId, caller);
  const id = randomUUID();
  const kind = 'ssh_private_key';
  const sealed = await sealCredential({
    segmentPublicKey: decodeBase64(key.publicKey),
    binding: {
      installationId: key.installationId,
      credentialId: id,
      version: 1,
      kind,
      segmentId,
      generation: key.generation,
    },
    secret: {
      kind,
      user: ssh.user,
      privateKey: ssh.privateKey,
      bounds: {
        hosts: ['127.0.0.1'],
        networks: [],
        ports: [ssh.port],
        protocols: ['ssh'],
        user: ssh.user,
        authentication: ['publickey'],
      },
    },
  });
  await createCredential(
    sql,
    { id, segmentId, name, description: 'Opens 127.0.0.1 only.', kind, sealed },
    caller,
  );
  return id;
}

/** We made the host key ourselves a moment ago, so nobody needs to be asked. */
async function trustHostKey(
  server: RunningServer,
  targetId: number,
  hostKeyLine: string,
  caller: Caller,
): Promise<void> {
  const seen = await inTransaction(server.sql, (tx) => recordSeenHostKey(tx, { targetId, hostKeyLine }));
  if (seen === undefined) throw notFound('Target');
  if (seen.state === 'accepted') return;
  const { fingerprint } = seen;
  await inTransaction(server.sql, (tx) => acceptHostKey(tx, targetId, { fingerprint }, caller));
}

/** Creates the sample jobs. Returns the id of the job that is run at once. */
export async function createSampleJobs(server: RunningServer, caller: Caller): Promise<number> {
  const ids: number[] = [];
  for (const definition of sampleJobs) {
    const deps = { sql: server.sql, masterKey: server.installation.masterKey };
    const existing = await findJobNamed(server.sql, definition.name);
    ids.push(existing ?? (await createJob(deps, definition, caller)).id);
  }
  return ids[0] ?? 0;
}

/** Starts the run that a newcomer watches, or returns the one that was started before. */
export async function startFirstRun(
  { sql, installation, services }: RunningServer,
  { jobId, targetId }: { jobId: number; targetId: number },
  caller: Caller,
): Promise<number> {
  const { masterKey, installationId } = installation;
  const requested = requestKeyOf(`first-run-${installationId}`, caller, ['first run']);
  const deps = { sql, masterKey, identity: installation };
  const { runId, news } = await startOnce(deps, requested, caller, () =>
    startRun(deps, { jobId, selection: { targetIds: [targetId] }, requested }, caller),
  );
  services.gateway.publish(news);
  return runId;
}
