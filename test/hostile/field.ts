// The environment of the attacks: jobs to list, a run with output to read, and a token and an agent that attackers
// have.
import { join } from 'node:path';
import type { EnrollmentTokenReply } from '@opsconductor/protocol';
import { pino } from 'pino';
import { withoutProxy } from '../../agent/src/connection/proxy.ts';
import { enroll } from '../../agent/src/enrollment/enroll.ts';
import type { BenchSystem } from '../../bench/bench-system.ts';
import { readRun } from '../../bench/sse-reader.ts';
import type { Field } from './attack.ts';

const jobs = 60;
/** Incompressible, because a reader that takes nothing then ties up the most memory. */
const outputCommand = 'head -c 24000000 /dev/urandom | base64';

export async function prepareField(system: BenchSystem): Promise<Omit<Field, 'random'>> {
  for (let n = 0; n < jobs; n++) await system.createJob('true');
  const run = await system.startRun(await system.createJob(outputCommand));
  await readRun(`${system.baseUrl}/api/v1/runs/${run.id}/events?output=all`, system.token);
  const port = Number(new URL(system.baseUrl).port);
  return { port, runId: run.id, token: await attackersToken(system), agentDir: await attackersAgent(system) };
}

/** For a user of its own, so that the attackers' limits don't count against another user. */
async function attackersToken({ api }: BenchSystem): Promise<string> {
  const user = await api<{ id: number }>('POST', '/users', { name: 'attacker', kind: 'service' });
  await api('POST', '/grants', { userId: user.id, role: 'author' });
  const created = await api<{ token: string }>('POST', `/users/${user.id}/tokens`, { name: 'stolen' });
  return created.token;
}

async function attackersAgent({ api, segmentId, baseUrl, dir }: BenchSystem): Promise<string> {
  const reply = await api<EnrollmentTokenReply>('POST', `/segments/${segmentId}/enrollment-tokens`, {});
  const dataDir = join(dir, 'stolen-agent');
  const log = pino({ level: 'silent' });
  await enroll({
    server: baseUrl,
    token: reply.token,
    name: 'stolen',
    dataDir,
    force: false,
    proxy: withoutProxy,
    log,
  });
  return dataDir;
}
