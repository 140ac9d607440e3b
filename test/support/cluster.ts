// Several servers on one PostgreSQL behind HAProxy, agents that connect through it by TLS, and one OpenSSH target.
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Agent, EnrollmentTokenReply } from '@opsconductor/protocol';
import { vi } from 'vitest';
import { setupDatabase, type TestDatabase } from '../../server/src/store/database/testing.ts';
import { loadOrCreateServerTls } from '../../server/src/tls/server-tls.ts';
import { ApiClient } from './api-client.ts';
import { freePort } from './free-port.ts';
import { startHaproxy } from './haproxy.ts';
import { RunReader } from './run-reader.ts';
import { buildPrograms, TestAgent, TestServer } from './server-and-agents.ts';
import { type SshdFixture, startSshd } from './sshd.ts';
import { makeTarget } from './system.ts';

export interface Cluster {
  servers: TestServer[];
  agents: TestAgent[];
  /** Through the load balancer. */
  api: ApiClient;
  /** To each server directly, bypassing the load balancer. */
  direct: ApiClient[];
  sshd: SshdFixture;
  database: TestDatabase;
  segmentId: number;
  targetId: number;
  read(runId: number): RunReader;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts the cluster; resolves when all agents can be given steps. */
export async function setupCluster({
  servers: count = 2,
  agents: agentCount = 2,
  oldCheckout,
}: {
  servers?: number;
  agents?: number;
  /** A built checkout of another version, used for the last server and the last agent. */
  oldCheckout?: string | undefined;
} = {}): Promise<Cluster> {
  await buildPrograms();
  const dir = await mkdtemp(join(tmpdir(), 'opsconductor-cluster-'));
  await chmod(dir, 0o711);
  const closers: (() => Promise<unknown>)[] = [() => rm(dir, { recursive: true, force: true })];
  /** Closes everything, even if something fails, and reports the first failure. */
  const close = async () => {
    const failures: unknown[] = [];
    for (const closer of closers.splice(0).reverse()) await closer().catch((error) => failures.push(error));
    if (failures.length > 0) throw failures[0];
  };
  try {
    const database = await setupDatabase();
    closers.push(() => database.close());
    const token = randomBytes(24).toString('hex');
    const tls = await loadOrCreateServerTls({ directory: join(dir, 'tls'), hostNames: ['localhost'] });
    const certFile = join(dir, 'haproxy.pem');
    const caFile = join(dir, 'tls/ca.pem');
    await writeFile(certFile, `${tls.certPem}${tls.keyPem}`, { mode: 0o600 });
    const port = await freePort();
    const url = `https://127.0.0.1:${port}`;
    const ports: number[] = [];
    const servers: TestServer[] = [];
    for (let n = 0; n < count; n += 1) {
      ports.push(await freePort());
      const env = {
        DATABASE_URL: database.url,
        OPSCONDUCTOR_BOOTSTRAP_TOKEN: token,
        OPSCONDUCTOR_MASTER_KEY_FILE: join(dir, 'keys/master-key.json'),
        OPSCONDUCTOR_BEHIND_TLS_PROXY: 'true',
        OPSCONDUCTOR_PUBLIC_URL: url,
        OPSCONDUCTOR_DRAIN_SECONDS: '1',
        LOG_LEVEL: 'info',
      };
      const checkout = n === count - 1 ? oldCheckout : undefined;
      const server = new TestServer(ports[n] ?? 0, join(dir, `server-${n}`), env, checkout);
      closers.push(() => server.stop());
      servers.push(server);
      await server.start();
    }
    const haproxy = await startHaproxy({ dir, port, certFile, servers: ports });
    closers.push(() => haproxy.stop());
    const sshd = await startSshd();
    closers.push(() => sshd.stop());
    const api = new ApiClient({ url, token, ca: tls.caPem });
    await vi.waitFor(async () => void (await api.get('/readyz')), { timeout: 20_000 });
    const { id: segmentId } = await api.made<{ id: number }>('/api/v1/segments', { name: 'dmz' });
    const agents: TestAgent[] = [];
    for (let n = 0; n < agentCount; n += 1) {
      const file =
        oldCheckout !== undefined && n === agentCount - 1
          ? join(oldCheckout, '.cache/build/agent.mjs')
          : undefined;
      const agent = new TestAgent(`agent-${n}`, join(dir, `agent-${n}`), 16, file);
      agents.push(agent);
      closers.push(() => agent.stop());
      const made = await api.made<EnrollmentTokenReply>(`/api/v1/segments/${segmentId}/enrollment-tokens`);
      await agent.enroll(url, made.token, caFile);
      await agent.start();
    }
    await vi.waitFor(() => requireConnected(api, agentCount), { timeout: 30_000 });
    const targetId = await makeTarget(api, segmentId, sshd);
    const readers: RunReader[] = [];
    closers.push(async () => {
      for (const reader of readers) reader.close();
    });
    return {
      servers,
      agents,
      api,
      direct: ports.map((each) => new ApiClient({ url: `http://127.0.0.1:${each}`, token })),
      sshd,
      database,
      segmentId,
      targetId,
      read(runId) {
        const reader = new RunReader({
          url: `${url}/api/v1/runs/${runId}/events?output=all`,
          token,
          ca: tls.caPem,
        });
        readers.push(reader);
        return reader;
      },
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function requireConnected(api: ApiClient, count: number): Promise<void> {
  const { body } = await api.get<{ items: Agent[] }>('/api/v1/agents');
  const able = body.items.filter((agent) => agent.state === 'connected' && agent.hasSegmentKey);
  if (able.length < count) throw new Error(`${able.length} of ${count} agents can be given steps`);
}
