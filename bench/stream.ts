// 200 MB of output from the target to the store and to a reader, against `ssh host cat > /dev/null`.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { RunDetail } from '@opsconductor/protocol';
import { type BenchSystem, sshArgs, startBenchSystem } from './bench-system.ts';
import { childOf, cpuSeconds } from './cpu-seconds.ts';
import { writeReport } from './report.ts';
import { commandWithSecrets, createSecretJob, secretCount } from './secret-runs.ts';
import { type ReadRun, readRun } from './sse-reader.ts';
import { median } from './statistics.ts';

const rounds = 5;
const outputBytes = 200_000_000;

export async function benchStream(): Promise<void> {
  const system = await startBenchSystem();
  try {
    const file = join(system.target.dir, 'output.txt');
    const sha256 = await writeOutput(file);
    const jobId = await system.createJob(`cat ${file}`);
    const secretJob = await createSecretJob(system, commandWithSecrets(`cat ${file}`));
    const ours: number[] = [];
    const ssh: number[] = [];
    const ratios: number[] = [];
    const masked: number[] = [];
    const maskedRatios: number[] = [];
    const cpu: Record<string, number[]> = {};
    const processes = {
      agent: system.agentPid,
      server: system.serverPid,
      PostgreSQL: childOf(system.serverPid, 'postgres'),
      sshd: childOf(process.pid, 'sshd'),
      reader: process.pid,
    };
    for (let round = -1; round < rounds; round += 1) {
      const sshMs = await timeSsh(system, file);
      const before = cpuSeconds(processes);
      const { run, read, elapsedMs: ourMs } = await timeRun(system, () => system.startRun(jobId));
      const after = cpuSeconds(processes);
      await checkRun(system, run.id, read, sha256);
      const request = await secretJob.request();
      const secret = await timeRun(system, () => system.startWith(secretJob.id, request));
      await checkRun(system, secret.run.id, secret.read, sha256);
      if (round < 0) continue;
      masked.push(secret.elapsedMs);
      maskedRatios.push(sshMs / secret.elapsedMs);
      for (const name of Object.keys(processes))
        cpu[name] = [...(cpu[name] ?? []), (after[name] ?? 0) - (before[name] ?? 0)];
      ssh.push(sshMs);
      ours.push(ourMs);
      ratios.push(sshMs / ourMs);
    }
    const rate = (ms: number) => `${(outputBytes / 1e3 / ms).toFixed(0)} MB/s`;
    await writeReport({
      name: 'stream',
      title: '200 MB of output, target to stored and to a reader',
      rows: [
        ['product, median', `${rate(median(ours))}`, ''],
        ['`ssh host cat > /dev/null`, median', `${rate(median(ssh))}`, ''],
        ['product ÷ ssh, median of pairs', median(ratios).toFixed(2), 'at least 0.25'],
        [`product, run with ${secretCount} secrets, median`, `${rate(median(masked))}`, ''],
        ['product with secrets ÷ ssh, median of pairs', median(maskedRatios).toFixed(2), 'at least 0.2'],
        [
          'CPU time of a run, median',
          Object.entries(cpu)
            .map(([name, seconds]) => `${name} ${median(seconds).toFixed(2)} s`)
            .join(', '),
          '',
        ],
        ['peak memory of the server', `${await peakMb(system.serverPid)} MB`, 'under 300 MB'],
        ['peak memory of the agent', `${await peakMb(system.agentPid)} MB`, 'under 300 MB'],
      ],
      notes: [
        `The output is log lines that gzip level 1 makes ${await gzipRatio(file)} times smaller. Both sides use aes128-gcm. Timed from before the POST until the reader had parsed and inflated the last byte and the run had ended. The SHA-256 of what it read, and of what the store returned, is checked against that of the file afterwards, outside the timing, as the peer computes none.`,
        `${rounds} pairs after one that is not counted. The secrets of a run, of five shapes, are in the environment of its step and are looked for in all spellings; the output contains none of them.`,
        'The steps do not survive their agent; [those that do](#latency-a-short-run) are slower.',
      ],
    });
  } finally {
    await system.stop();
  }
}

async function timeRun(
  system: BenchSystem,
  start: () => Promise<RunDetail>,
): Promise<{ run: RunDetail; read: ReadRun; elapsedMs: number }> {
  const startedMs = performance.now();
  const run = await start();
  const read = await readRun(`${system.baseUrl}/api/v1/runs/${run.id}/events?output=all`, system.token);
  return { run, read, elapsedMs: read.endedMs - startedMs };
}

/** Checks that both the reader's bytes and the stored ones equal the file. */
async function checkRun(system: BenchSystem, runId: number, read: ReadRun, sha256: string): Promise<void> {
  if (read.status !== 'succeeded' || read.sha256() !== sha256)
    throw new Error(`the reader got ${read.bytes} bytes, ${read.status}`);
  const { steps } = await system.api<{ steps: { id: number }[] }>('GET', `/runs/${runId}/steps`);
  const stored = await fetch(
    `${system.baseUrl}/api/v1/runs/${runId}/steps/${steps[0]?.id}/output?format=raw`,
    {
      headers: { Authorization: `Bearer ${system.token}` },
    },
  );
  const hash = createHash('sha256');
  if (stored.body === null) throw new Error('no stored output');
  for await (const piece of stored.body as unknown as AsyncIterable<Uint8Array>) hash.update(piece);
  if (hash.digest('hex') !== sha256) throw new Error('what is stored differs');
}

async function timeSsh(system: BenchSystem, file: string): Promise<number> {
  const startedMs = performance.now();
  const child = spawn('ssh', [...sshArgs(system), `cat ${file}`], { stdio: ['ignore', 'ignore', 'inherit'] });
  const [code] = (await once(child, 'exit')) as [number];
  if (code !== 0) throw new Error(`ssh ended with ${code}`);
  return performance.now() - startedMs;
}

const messages = [
  'Unpacking libssl3t64:amd64 (3.0.13-0ubuntu3.6) over (3.0.13-0ubuntu3.5)',
  'Setting up nginx-common (1.24.0-2ubuntu7.5)',
  'request served from cache, upstream not asked',
  'health check passed',
  'connection from 10.20.4.11 closed by peer',
  'Processing triggers for man-db (2.12.0-4build2)',
];

/** A line such as a package manager or a service would write: a time, a source, a message, varying numbers. */
function logLine(n: number): string {
  const at = new Date(1_795_000_000_000 + n * 7).toISOString();
  const noise = (n * 2_654_435_761) % 100_003;
  return `${at} info  web-${n % 24} ${messages[noise % messages.length]} id=${noise} ms=${noise % 97}\n`;
}

async function writeOutput(file: string): Promise<string> {
  const handle = await open(file, 'w', 0o644);
  const hash = createHash('sha256');
  for (let written = 0, n = 0; written < outputBytes; ) {
    const lines: string[] = [];
    for (let i = 0; i < 2_000; i += 1, n += 1) lines.push(logLine(n));
    const piece = Buffer.from(lines.join('')).subarray(0, outputBytes - written);
    hash.update(piece);
    await handle.write(piece);
    written += piece.length;
  }
  await handle.close();
  return hash.digest('hex');
}

async function gzipRatio(file: string): Promise<string> {
  const sample = (await readFile(file)).subarray(0, 256 * 1024);
  return (sample.length / gzipSync(sample, { level: 1 }).length).toFixed(1);
}

async function peakMb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Math.round(Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024);
}
