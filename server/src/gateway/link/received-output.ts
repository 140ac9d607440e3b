// Handles output that one agent sends: checks each chunk, hands it over to be stored, and acknowledges it once it is.
import { createHash } from 'node:crypto';
import {
  closeCodes,
  decodeFrame,
  isAsLongAsStated,
  limits,
  type OutputFrame,
  type ServerMessageOf,
} from '@opsconductor/protocol';
import type { Log } from '../../log.ts';
import type { OutputWriter } from '../../runs/output/output-writer.ts';
import type { AttemptOutput } from '../leases/attempt-output.ts';
import { type DeliveredAttempts, keyOf } from './delivered-attempts.ts';

/** Above this, the server stops reading from agents until the database has caught up. */
const maxQueuedOutputBytes = 32 * 1024 * 1024;

export interface ReceivedOutputDeps {
  agent: { agentId: number; name: string; sessionNumber: number };
  attempts: Pick<DeliveredAttempts, 'get'>;
  writer: Pick<OutputWriter, 'push' | 'queuedBytes'>;
  pace: { outputIsBehind(isBehind: boolean): void };
  send(message: ServerMessageOf<'output_ack'>): void;
  close(code: number, reason: string): void;
  log: Log;
}

type StoreResult = Parameters<Parameters<OutputWriter['push']>[3]>[0];

export class ReceivedOutput {
  readonly #deps: ReceivedOutputDeps;
  #acks = new Map<string, AttemptOutput>();
  #ackScheduled = false;
  /** Output that follows on a connection that is ending fails for the same reason, over and over if a disk is full. */
  #isFailureTold = false;

  constructor(deps: ReceivedOutputDeps) {
    this.#deps = deps;
  }

  take(data: Buffer): void {
    const { attempts, close } = this.#deps;
    const frame =
      data.length > limits.maxOutputFrameBytes ? undefined : decodeFrame(data, limits.maxChunkRawBytes);
    if (frame === undefined) {
      close(closeCodes.invalidMessage, 'not an output frame');
      return;
    }
    const attempt = attempts.get(frame);
    if (attempt !== undefined && this.#isAllowed(attempt, frame)) this.#store(attempt, frame);
  }

  #isAllowed(attempt: AttemptOutput, frame: OutputFrame): boolean {
    const { agent, close, log } = this.#deps;
    const told = { agent: agent.name, step: attempt.stepId };
    if (!isAsLongAsStated(frame)) {
      log.warn(told, 'agent sent output whose length is not the one it states; it is disconnected');
      close(closeCodes.invalidMessage, 'output of another length than stated');
      return false;
    }
    if (attempt.isMoreThanKept(frame)) {
      log.warn(told, 'agent sent more output of an attempt than is kept; it is disconnected');
      close(closeCodes.invalidMessage, 'more output than is kept of an attempt');
      return false;
    }
    return true;
  }

  #store(attempt: AttemptOutput, frame: OutputFrame): void {
    const { agent, writer, pace } = this.#deps;
    const sha256 = createHash('sha256').update(frame.bytes).digest();
    attempt.receive(frame, sha256);
    const ref = {
      stepId: attempt.stepId,
      epoch: attempt.epoch,
      runId: attempt.runId,
      attemptDay: attempt.attemptDay,
      agentId: agent.agentId,
      sessionNumber: agent.sessionNumber,
    };
    writer.push(ref, frame, sha256, (result) => this.#onStored(attempt, frame, result));
    if (writer.queuedBytes > maxQueuedOutputBytes) pace.outputIsBehind(true);
  }

  #onStored(attempt: AttemptOutput, frame: OutputFrame, result: StoreResult): void {
    const { agent, writer, pace, close, log } = this.#deps;
    if (writer.queuedBytes <= maxQueuedOutputBytes / 2) pace.outputIsBehind(false);
    if (result instanceof Error) {
      if (!this.#isFailureTold)
        log.error(
          { agent: agent.name, err: result },
          'output could not be stored; the agent is disconnected, and sends it again',
        );
      this.#isFailureTold = true;
      close(closeCodes.serverRestart, 'output could not be stored; send it again');
      return;
    }
    if (result === 'stopping') {
      close(closeCodes.serverRestart, 'the server is stopping; send it again');
      return;
    }
    if (result === 'gap') {
      close(closeCodes.serverRestart, 'output before this is missing; send it again');
      return;
    }
    if (result === 'refused' && attempt.survives) {
      // Another agent may be reading the same output from the target, so this agent must not drop its copy yet.
      close(closeCodes.serverRestart, 'another agent may have this command; connect again');
      return;
    }
    if (typeof result === 'object') {
      if (attempt.notKept === undefined)
        log.error(
          { run: attempt.runId, step: attempt.stepId },
          `output of this step is not kept: ${result.unreadable}`,
        );
      attempt.notKept = result.unreadable;
    }
    const isKept = result !== 'differs' && typeof result !== 'object';
    // If refused, the lease has moved on. It is acknowledged all the same, so that the agent drops it.
    attempt.settle(frame, isKept ? 'stored' : 'differs');
    this.#acknowledge(attempt);
  }

  /** Acknowledges once per turn, for all attempts together. */
  #acknowledge(attempt: AttemptOutput): void {
    this.#acks.set(keyOf(attempt), attempt);
    if (this.#ackScheduled) return;
    this.#ackScheduled = true;
    setImmediate(() => {
      this.#ackScheduled = false;
      const acks = [...this.#acks.values()];
      this.#acks = new Map();
      this.#deps.send({
        type: 'output_ack',
        acks: acks.map(({ stepId, epoch, stored }) => ({ step: stepId, epoch, seq: stored })),
      });
    });
  }
}
