// For tests: the step type on a real sshd, with its input and output kept for inspection.
import type { SshExecConfig } from '@opsconductor/protocol';
import type { SshPool } from '../../ssh/pool/pool.ts';
import { type ServerFixture, type SshSetup, setupSshd } from '../../ssh/sshd-setup.ts';
import type { KeptOutput, OutputStream, StepContext, StopRequest, StreamOffsets } from '../step-type.ts';
import { type SshExecOptions, sshExec } from './ssh-exec.ts';

/** An output sink that a test can block, and whose content it can wait for. */
export class TestSink {
  readonly parts: { stream: OutputStream; bytes: Buffer }[] = [];
  blocked = false;
  /** What was written so far; a test may set it to what an earlier process wrote. */
  readonly written: StreamOffsets = { stdout: 0, stderr: 0 };
  /** Whether everything written counts as stored by the server. */
  confirmAll = false;
  /** How often it was told that output may come. */
  expected = 0;
  readonly kept: KeptOutput = {
    follow: () => {},
    written: () => ({ ...this.written }),
    confirmed: () => (this.confirmAll ? { ...this.written } : { stdout: 0, stderr: 0 }),
  };
  #watchers: (() => void)[] = [];
  #drain: (() => void)[] = [];

  write(stream: OutputStream, bytes: Buffer): boolean {
    this.parts.push({ stream, bytes: Buffer.from(bytes) });
    this.written[stream] += bytes.length;
    for (const watch of this.#watchers.splice(0)) watch();
    return !this.blocked;
  }

  expect(): void {
    this.expected += 1;
  }

  drained(): Promise<void> {
    return this.blocked ? new Promise((resolve) => this.#drain.push(resolve)) : Promise.resolve();
  }

  unblock(): void {
    this.blocked = false;
    for (const resolve of this.#drain.splice(0)) resolve();
  }

  bytes(stream: OutputStream): Buffer {
    return Buffer.concat(this.parts.filter((part) => part.stream === stream).map((part) => part.bytes));
  }

  get stdout(): string {
    return this.bytes('stdout').toString();
  }

  get stderr(): string {
    return this.bytes('stderr').toString();
  }

  /** Resolves with the match as soon as stdout holds one. */
  async seen(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const match = pattern.exec(this.stdout);
      if (match) return match;
      await new Promise<void>((resolve) => this.#watchers.push(resolve));
    }
  }
}

export interface ExecSetup<Server extends ServerFixture = SshSetup['sshd']> extends SshSetup<Server> {
  sink: TestSink;
  warm: SshPool;
  /** Continues an attempt as if an earlier process had begun it. */
  reattach(config: SshExecConfig, more: Partial<StepContext>): ReturnType<ExecSetup['run']>;
  run(config: SshExecConfig, more?: Partial<StepContext>): ReturnType<ReturnType<typeof sshExec>['execute']>;
  /** Announces a step on the target. */
  prepare(marker: string): void;
  /** Stops the running step, as the executor does. */
  stop(cause?: StopRequest['cause'], killGraceMs?: number): void;
}

let attempts = 0;

export async function setupExec(
  sshd: Parameters<typeof setupSshd>[0] = {},
  options: SshExecOptions = {},
): Promise<ExecSetup> {
  return setupExecOn(await setupSshd(sshd), options);
}

export function setupExecOn<Server extends ServerFixture>(
  t: SshSetup<Server>,
  options: SshExecOptions = {},
): ExecSetup<Server> {
  const warm = t.pool();
  const step = sshExec(warm, options);
  const sink = new TestSink();
  const controller = new AbortController();
  const contextOf = (more: Partial<StepContext> = {}): StepContext => {
    attempts += 1;
    // Unique across test runs, so that the marker doesn't find processes that an earlier run left behind.
    const marker = more.marker ?? `test-${process.pid}.${Date.now()}.${attempts}`;
    return {
      directoryName: marker,
      target: t.target,
      credential: t.credential,
      output: sink,
      transfers: { progress: () => {}, report: () => {} },
      maySurvive: true,
      signal: controller.signal,
      askServer: () => Promise.reject(new Error('There is no server')),
      beforeStart: async () => {},
      checkAddresses: () => {},
      ...more,
      marker,
    };
  };
  return {
    ...t,
    sink,
    warm,
    run: (config, more) => step.execute(config, contextOf(more)),
    reattach: (config, more) => {
      const other = sshExec(t.pool(), options);
      if (other.reattach === undefined) throw new Error('the step type can not reattach');
      return other.reattach(config, contextOf(more));
    },
    prepare: (marker) => step.prepare?.({ targetId: t.target.id, marker }),
    stop: (cause = 'cancelled', killGraceMs = 5000) =>
      controller.abort({ cause, killGraceMs } satisfies StopRequest),
  };
}
