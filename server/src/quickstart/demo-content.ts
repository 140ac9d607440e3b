// What the first start puts into an empty installation, through the same features that people use: a segment, this
// machine as its target, a credential sealed to the segment, and sample jobs.
import { createHash, randomUUID } from 'node:crypto';
import { decodeBase64, sealCredential } from '@opsconductor/protocol/sealing';
import type { Caller } from '../caller.ts';
import { createCredential } from '../credentials/edit-credentials.ts';
import { createJob } from '../jobs/create-job.ts';
import { createEnrollmentToken } from '../segments/create-enrollment-token.ts';
import { createSegment } from '../segments/create-segment.ts';
import { sealingKeyOf } from '../segments/sealing-key.ts';
import type { RunningServer } from '../server.ts';
import { inTransaction } from '../store/database/transaction.ts';
import { createTarget, updateTarget } from '../targets/edit-targets.ts';
import { acceptHostKey, recordSeenHostKey } from '../targets/host-keys.ts';
import { getTarget } from '../targets/list-targets.ts';
import { sampleJobs } from './sample-jobs.ts';

/** The segment of the demo; its first agent makes the segment key, so the rest comes after enrollment. */
export async function createDemoSegment(
  server: RunningServer,
  caller: Caller,
): Promise<{ segmentId: number; token: string }> {
  const segment = await createSegment(
    server.sql,
    server.installation.masterKey,
    {
      name: 'quickstart',
      description: 'Made by the first start: this machine, for trying things out.',
      unknownAfter: 60,
    },
    caller,
  );
  const { token } = await createEnrollmentToken(
    { sql: server.sql, publicUrl: server.localUrl, caPin: server.caPin, agentSha256: async () => '' },
    segment.id,
    caller,
  );
  return { segmentId: segment.id, token };
}

export interface DemoSsh {
  port: number;
  user: string;
  hostKeyLine: string;
  /** OpenSSH text; sealed to the segment and kept nowhere else but in the demo's folder. */
  privateKey: string;
}

/** This machine as a target, opened by a key that is sealed to the segment. */
export async function createDemoTarget(
  server: RunningServer,
  segmentId: number,
  ssh: DemoSsh,
  caller: Caller,
  /** The demo's target of an earlier start, which moves to the new port. */
  existing?: number,
): Promise<number> {
  const { sql } = server;
  const key = await sealingKeyOf(sql, server.installation.installationId, segmentId, caller);
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
    { id, segmentId, name: `demo key, port ${ssh.port}`, description: 'Opens 127.0.0.1 only.', kind, sealed },
    caller,
  );
  const fields = { name: 'this machine', host: '127.0.0.1', port: ssh.port, credentialId: id };
  const target =
    existing === undefined
      ? await createTarget(sql, { segmentId, ...fields }, caller)
      : await updateTarget(sql, existing, fields, caller);
  await trustHostKey(server, target.id, ssh.hostKeyLine, caller);
  return target.id;
}

/** We made the host key ourselves a moment ago, so nobody has to be asked. */
async function trustHostKey(
  server: RunningServer,
  targetId: number,
  hostKeyLine: string,
  caller: Caller,
): Promise<void> {
  await inTransaction(server.sql, (tx) => recordSeenHostKey(tx, { targetId, hostKeyLine }));
  const blob = Buffer.from(hostKeyLine.split(' ')[1] ?? '', 'base64');
  const fingerprint = `SHA256:${createHash('sha256').update(blob).digest('base64').replace(/=+$/, '')}`;
  const target = await getTarget(server.sql, targetId, caller.authority.reach('read'));
  if (target.hostKeys.some((key) => key.fingerprint === fingerprint && key.state === 'accepted')) return;
  await inTransaction(server.sql, (tx) => acceptHostKey(tx, targetId, { fingerprint }, caller));
}

/** The sample jobs; returns the id of the one that is run at once. */
export async function createSampleJobs(server: RunningServer, caller: Caller): Promise<number> {
  const ids: number[] = [];
  for (const definition of sampleJobs) {
    const deps = { sql: server.sql, masterKey: server.installation.masterKey };
    ids.push((await createJob(deps, definition, caller)).id);
  }
  return ids[0] ?? 0;
}
