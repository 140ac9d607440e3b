// POST to first output byte at an SSE reader, warm, against a cold `ssh host echo`.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { sshArgs, startBenchSystem } from './bench-system.ts';
import { writeReport } from './report.ts';
import { commandWithSecrets, createSecretJob, secretCount } from './secret-runs.ts';
import { type ReadRun, readRun, startAndRead } from './sse-reader.ts';
import { median, percentile } from './statistics.ts';

const rounds = 200;
/**
 * Two runs each. The server is still having its code compiled for about the first 800 runs, beside the runs, and the
 * first byte comes later by a tenth to a fifth until then.
 */
const warmingRounds = 500;
/** A cold ssh is timed in every fifth round: it is the slow one. */
const sshEvery = 5;

export async function benchLatency(): Promise<void> {
  const system = await startBenchSystem();
  try {
    const jobId = await system.createJob('echo hello');
    const secretJob = await createSecretJob(system, commandWithSecrets('echo hello'));
    const [whole, apart, masked] = [newTimes(), newTimes(), newTimes()];
    const ssh: number[] = [];
    const url = (path: string) => `${system.baseUrl}/api/v1${path}`;
    const startAndFollow = async () => {
      const body = { targetIds: system.targetIds };
      return startAndRead(url(`/jobs/${jobId}/run`), system.token, body);
    };
    const startThenFollow = async () => {
      const run = await system.startRun(jobId);
      return readRun(url(`/runs/${run.id}/events?output=all`), system.token);
    };
    for (let round = -warmingRounds; round < rounds; round += 1) {
      const wholeMs = await timeFirstByte(startAndFollow);
      const apartMs = await timeFirstByte(startThenFollow);
      if (round < 0) continue;
      whole.ms.push(wholeMs);
      apart.ms.push(apartMs);
      if (round % sshEvery !== 0) continue;
      const sshMs = await timeColdSsh(sshArgs(system));
      ssh.push(sshMs);
      whole.ratios.push(sshMs / wholeMs);
      apart.ratios.push(sshMs / apartMs);
    }
    // By themselves: what it takes here to seal the secrets is no part of what the others meet.
    for (let round = 0; round < rounds; round += 1) {
      const request = await secretJob.request();
      const path = url(`/jobs/${secretJob.id}/run`);
      const maskedMs = await timeFirstByte(() => startAndRead(path, system.token, request));
      masked.ms.push(maskedMs);
      if (round % sshEvery === 0) masked.ratios.push((await timeColdSsh(sshArgs(system))) / maskedMs);
    }
    const wholeP50 = percentile(whole.ms, 50);
    const wholeP99 = percentile(whole.ms, 99);
    const inOne = 'started and followed by one request';
    const inTwo = 'stream opened after the answer';
    await writeReport({
      name: 'latency',
      title: 'POST to first output byte',
      rows: [
        [`p50, ${inOne}`, `${wholeP50.toFixed(1)} ms`, ''],
        [
          `p99, ${inOne}`,
          `${(wholeP99 / wholeP50).toFixed(1)} times p50, ${wholeP99.toFixed(1)} ms`,
          'at most 3 times p50',
        ],
        ['cold `ssh host echo`, median', `${median(ssh).toFixed(1)} ms`, ''],
        [`ssh ÷ product, median of pairs, ${inOne}`, median(whole.ratios).toFixed(1), 'at least 10'],
        [
          `p50 and p99, ${inTwo}`,
          `${percentile(apart.ms, 50).toFixed(1)} and ${percentile(apart.ms, 99).toFixed(1)} ms`,
          '',
        ],
        [`ssh ÷ product, median of pairs, ${inTwo}`, median(apart.ratios).toFixed(1), 'at least 10'],
        [
          `p50 and p99, ${inOne}, with ${secretCount} secrets of the run`,
          `${percentile(masked.ms, 50).toFixed(1)} and ${percentile(masked.ms, 99).toFixed(1)} ms`,
          '',
        ],
        [`ssh ÷ product, median of pairs, with ${secretCount} secrets`, median(masked.ratios).toFixed(1), ''],
      ],
      notes: [
        `${rounds} runs of \`echo hello\` each way, alternating, and then as many with ${secretCount} secrets, which the agent opens and masks. All are on a warm SSH connection, after ${warmingRounds} that are not counted. ${ssh.length} of each are paired with a cold ssh.`,
        'Timed from before POST /jobs/:id/run until the first byte of output was inflated from the event stream. The stream is either the answer to the POST itself (`Accept: text/event-stream`), or that of GET /runs/:id/events, requested after the answer.',
        'The steps do not survive their agent; [those that do](#latency-a-short-run) are slower.',
      ],
    });
  } finally {
    await system.stop();
  }
}

interface Times {
  ms: number[];
  /** A cold ssh by ours. */
  ratios: number[];
}

function newTimes(): Times {
  return { ms: [], ratios: [] };
}

async function timeFirstByte(run: () => Promise<ReadRun>): Promise<number> {
  const startedMs = performance.now();
  const read = await run();
  if (read.status !== 'succeeded') throw new Error(`a run ${read.status}`);
  return read.firstByteMs - startedMs;
}

async function timeColdSsh(args: readonly string[]): Promise<number> {
  const startedMs = performance.now();
  const child = spawn('ssh', [...args, 'echo hello'], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  const elapsedMs = performance.now() - startedMs;
  if (child.exitCode === null) await once(child, 'exit');
  return elapsedMs;
}
