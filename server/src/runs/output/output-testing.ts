// For the tests of output: chunks as agents send them, stored by a real writer.
import { createHash } from 'node:crypto';
import { gunzipSync, gzipSync } from 'node:zlib';
import type { OutputFrame, OutputStreamName } from '@opsconductor/protocol';
import { connectBinary } from '../../store/database/connection.ts';
import type { BinaryConnection } from '../../store/database/driver/binary-connection.ts';
import type { ClaimedStep } from '../../store/queue/claims/claims.ts';
import { LiveHub } from '../live/live-hub.ts';
import { RunKeys } from '../run-keys.ts';
import { setupRuns, type TestRuns } from '../testing.ts';
import { type ChunkResult, type OutputAttempt, OutputWriter } from './output-writer.ts';

export interface TestOutput extends TestRuns {
  keys: RunKeys;
  hub: LiveHub;
  appends: BinaryConnection;
  writer: OutputWriter;
  /** Sends these chunks at once and returns the result of each. */
  send(lease: ClaimedStep, ...frames: OutputFrame[]): Promise<(ChunkResult | Error)[]>;
  /** Returns the sequence numbers that are stored for a step's attempt. */
  stored(lease: ClaimedStep): Promise<number[]>;
}

export async function setupOutput(): Promise<TestOutput> {
  const t = await setupRuns();
  const keys = new RunKeys(t.masterKey);
  const hub = new LiveHub();
  const appends = connectBinary(t.sql, { dialMs: 30_000 });
  const writer = new OutputWriter({ sql: t.sql, appends, keys, hub });
  const disposeRuns = t[Symbol.asyncDispose].bind(t);
  return Object.assign(t, {
    keys,
    hub,
    appends,
    writer,
    async [Symbol.asyncDispose]() {
      await appends.end();
      await disposeRuns();
    },
    send: (lease: ClaimedStep, ...frames: OutputFrame[]) =>
      Promise.all(
        frames.map(
          (frame) =>
            new Promise<ChunkResult | Error>((done) => {
              writer.push(outputAttempt(lease), frame, digestOf(frame), done);
            }),
        ),
      ),
    stored: async (lease: ClaimedStep) =>
      (
        await t.sql<{ seq: number }[]>`
          select seq from run_output where job_run_step_id = ${lease.id} and epoch = ${lease.epoch} order by seq`
      ).map((row) => row.seq),
  });
}

export function outputAttempt(lease: ClaimedStep): OutputAttempt {
  const { id: stepId, epoch, jobRunId: runId, attemptDay, agentId, sessionNumber } = lease;
  return { stepId, epoch, runId, attemptDay, agentId, sessionNumber };
}

export function digestOf(frame: OutputFrame): Buffer {
  return createHash('sha256').update(frame.bytes).digest();
}

export function chunkOf(
  lease: ClaimedStep,
  seq: number,
  text: string | Buffer,
  stream: OutputStreamName = 'stdout',
): OutputFrame {
  const { id: step, epoch } = lease;
  const raw = Buffer.from(text);
  return {
    step,
    epoch,
    seq,
    stream,
    rawLength: raw.length,
    elapsedMs: seq,
    bytes: gzipSync(raw, { level: 1 }),
  };
}

export function textOf(base64: string): string {
  return gunzipSync(Buffer.from(base64, 'base64')).toString();
}
