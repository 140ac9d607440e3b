// Many steps in sequence on one host, against a loop of OpenSSH's client over one kept connection; and a new connection
// against OpenSSH's.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { SshPool } from '../agent/src/ssh/pool/pool.ts';
import type { OpenedCredential, StepTarget } from '../agent/src/steps/step-type.ts';
import { type BenchSystem, sshArgs, startBenchSystem } from './bench-system.ts';
import { writeReport } from './report.ts';
import { createSecretJob, plainCommands, secretCount } from './secret-runs.ts';
import { readRun } from './sse-reader.ts';
import { median, medianRatio, percentile } from './statistics.ts';

const rounds = 5;
const stepCount = 300;
/** The most steps that one job may have. */
const stepsPerRun = 100;
const connects = 60;
/** Until the code has been compiled. */
const warmingConnects = 10;

type Pair = { ours: number; theirs: number };
/** Also includes the time for runs with secrets. */
type StepTimes = Pair & { masked: number };

export async function benchSteps(): Promise<void> {
  const system = await startBenchSystem();
  try {
    const steps = await stepTimes(system);
    const fresh = await connectPairs(system);
    const masked = steps.map((times) => ({ ours: times.masked, theirs: times.theirs }));
    const seconds = (of: keyof StepTimes) => `${(median(steps.map((pair) => pair[of])) / 1e3).toFixed(2)} s`;
    const ms = (of: keyof Pair) => {
      const all = fresh.map((pair) => pair[of]);
      return `${percentile(all, 50).toFixed(1)} and ${percentile(all, 90).toFixed(1)} ms`;
    };
    await writeReport({
      name: 'steps',
      title: 'Steps one after another on one host, and connections',
      rows: [
        [`${stepCount} steps, product`, seconds('ours'), ''],
        [`${stepCount} times \`ssh\` over one kept connection (ControlMaster)`, seconds('theirs'), ''],
        ['ControlMaster ÷ product, median of pairs', (1 / medianRatio(steps)).toFixed(2), 'at least 1.5'],
        [`${stepCount} steps, product, runs with ${secretCount} secrets`, seconds('masked'), ''],
        ['ControlMaster ÷ product with secrets, median of pairs', (1 / medianRatio(masked)).toFixed(2), ''],
        ['a new connection and `true`, the agent’s client, p50 and p90', ms('ours'), ''],
        ['the same with `ssh`', ms('theirs'), ''],
        ['product ÷ ssh, median of pairs', medianRatio(fresh).toFixed(2), 'at most 1.1'],
      ],
      notes: [
        `${stepCount / stepsPerRun} runs of ${stepsPerRun} steps \`true\` each, one after the other, each timed from before the POST until its end was read from its event stream, when all results are stored. The peer is a loop in a shell, over a connection that was opened before and stays open. ${rounds} rounds, in which they take turns, after one that is not counted. The agent opens the secrets and looks for them in what each step prints; no step uses them.`,
        `A connection is timed from before the TCP connection until \`true\` has ended, with the same key and cipher (aes128-gcm) for both. The agent’s client is in a process that is already running, as an agent is. ${connects} pairs after ${warmingConnects} that are not counted.`,
      ],
    });
  } finally {
    await system.stop();
  }
}

async function stepTimes(system: BenchSystem): Promise<StepTimes[]> {
  const jobId = await system.createJob('true', stepsPerRun);
  const secretJob = await createSecretJob(system, plainCommands('true', stepsPerRun));
  const control = join(system.dir, 'control');
  const master = spawn('ssh', ['-M', '-N', '-S', control, ...sshArgs(system)], { stdio: 'ignore' });
  const over = ['-F', 'none', '-S', control, system.target.host];
  while ((await exitCode('ssh', ['-O', 'check', ...over])) !== 0)
    if (master.exitCode !== null) throw new Error('no master');
  const loop = `n=0; while [ $n -lt ${stepCount} ]; do ssh "$@" true || exit 1; n=$((n+1)); done`;
  const targetIds = system.targetIds.slice(0, 1);
  const all: StepTimes[] = [];
  for (let round = 0; round <= rounds; round += 1) {
    let [ours, masked] = [0, 0];
    for (let n = 0; n < stepCount; n += stepsPerRun) {
      ours += await timed(() => runOnce(system, jobId, { targetIds }));
      const request = await secretJob.request();
      masked += await timed(() => runOnce(system, secretJob.id, request));
    }
    const theirs = await timed(async () => {
      const code = await exitCode('sh', ['-c', loop, 'sh', ...over]);
      if (code !== 0) throw new Error(`ssh over the kept connection ended with ${code}`);
    });
    if (round > 0) all.push({ ours, masked, theirs });
  }
  master.kill();
  await once(master, 'exit');
  return all;
}

async function connectPairs(system: BenchSystem): Promise<Pair[]> {
  const { target: server } = system;
  const target: StepTarget = {
    id: 1,
    name: 'bench',
    host: server.host,
    port: server.port,
    hostKeys: [server.hostKeyLine],
  };
  const credential: OpenedCredential = {
    kind: 'ssh_private_key',
    id: 'bench',
    version: 1,
    user: server.user,
    privateKey: server.privateKey,
  };
  const connect = async () => {
    const pool = new SshPool();
    const pooled = await pool.open({ target, credential, checkAddresses: () => undefined }, (connection) =>
      connection.exec('true'),
    );
    pooled.channel.resume();
    pooled.channel.stderr.resume();
    const [code] = (await once(pooled.channel, 'close')) as [number];
    if (code !== 0) throw new Error(`true ended with ${code}`);
    pooled.release();
    return pool;
  };
  const all: Pair[] = [];
  for (let round = -warmingConnects; round < connects; round += 1) {
    let pool: SshPool | undefined;
    const ours = await timed(async () => {
      pool = await connect();
    });
    await pool?.close();
    const theirs = await timed(async () => {
      if ((await exitCode('ssh', [...sshArgs(system), 'true'])) !== 0) throw new Error('ssh failed');
    });
    if (round >= 0) all.push({ ours, theirs });
  }
  return all;
}

async function runOnce(system: BenchSystem, jobId: number, request: object): Promise<void> {
  const { id } = await system.startWith(jobId, request);
  const { status } = await readRun(`${system.baseUrl}/api/v1/runs/${id}/events`, system.token);
  if (status !== 'succeeded') throw new Error(`run ${id} ${status}`);
}

async function timed(act: () => Promise<void>): Promise<number> {
  const startedMs = performance.now();
  await act();
  return performance.now() - startedMs;
}

async function exitCode(command: string, args: readonly string[]): Promise<number> {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'ignore'] });
  const [code] = (await once(child, 'exit')) as [number];
  return code;
}
