// POST to first output byte at an SSE reader, warm, against a cold `ssh host echo`.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { sshArgs, startBenchSystem } from './bench-system.ts';
import { writeReport } from './report.ts';
import { readRun } from './sse-reader.ts';
import { median, percentile } from './statistics.ts';

const rounds = 200;
/** Until the code is compiled and each connection of the pool has its plans. */
const warmingRounds = 100;
/** A cold ssh is timed in every fifth round: it is the slow one. */
const sshEvery = 5;

export async function benchLatency(): Promise<void> {
  const system = await startBenchSystem();
  try {
    const jobId = await system.createJob('echo hello');
    const ours: number[] = [];
    const ssh: number[] = [];
    const ratios: number[] = [];
    for (let round = -warmingRounds; round < rounds; round += 1) {
      const startedMs = performance.now();
      const run = await system.startRun(jobId);
      const read = await readRun(`${system.baseUrl}/api/v1/runs/${run.id}/events?output=all`, system.token);
      if (read.status !== 'succeeded') throw new Error(`run ${run.id} ${read.status}`);
      if (round < 0) continue;
      const ourMs = read.firstByteMs - startedMs;
      ours.push(ourMs);
      if (round % sshEvery !== 0) continue;
      const sshMs = await timeColdSsh(sshArgs(system));
      ssh.push(sshMs);
      ratios.push(sshMs / ourMs);
    }
    const [p50, p99] = [percentile(ours, 50), percentile(ours, 99)];
    await writeReport({
      name: 'latency',
      title: 'POST to first output byte',
      rows: [
        ['p50', `${p50.toFixed(1)} ms`, ''],
        ['p99', `${p99.toFixed(1)} ms, ${(p99 / p50).toFixed(1)} times p50`, 'at most 3 times p50'],
        ['cold `ssh host echo`, median', `${median(ssh).toFixed(1)} ms`, ''],
        ['ssh ÷ product, median of pairs', `${median(ratios).toFixed(1)}`, 'at least 10'],
      ],
      notes: [
        `${rounds} runs of \`echo hello\` one after the other on a warm SSH connection, ${ssh.length} of them paired with a cold ssh, after ${warmingRounds} that are not counted.`,
        'Timed from before POST /jobs/:id/run until the first byte of output was inflated from the event stream, which is opened after the POST’s answer.',
      ],
    });
  } finally {
    await system.stop();
  }
}

async function timeColdSsh(args: readonly string[]): Promise<number> {
  const startedMs = performance.now();
  const child = spawn('ssh', [...args, 'echo hello'], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  const elapsedMs = performance.now() - startedMs;
  if (child.exitCode === null) await once(child, 'exit');
  return elapsedMs;
}
