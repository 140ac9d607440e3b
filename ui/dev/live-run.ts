// A run of the mock API that progresses while one watches: each step is leased, begins a moment later, prints, and
// ends; the third one fails. POST /dev/live starts it again.
import type { ChunkEvent, RunChange, RunDetail, Step, TargetRun } from '@opsconductor/protocol';
import { pack } from './outputs.ts';
import { makeRun } from './run-fixtures.ts';

type Listener = (event: 'change' | 'chunk' | 'end', id: string, data: unknown) => void;

const leaseMs = 1_200;
const lineMs = 250;
/** Number of lines that each step prints. */
const lines = [6, 3, 24];

export class LiveRun {
  readonly run: RunDetail;
  readonly targetRuns: TargetRun[];
  readonly steps: Step[];
  readonly #id: number;
  readonly #chunks = new Map<number, ChunkEvent[]>();
  readonly #listeners = new Set<Listener>();
  #seq = 100;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(id: number) {
    this.#id = id;
    const made = makeRun(id, 0, { queued: 1 }, () => 'dmz-web-01');
    this.run = made.run;
    this.targetRuns = made.targetRuns;
    this.steps = made.steps;
  }

  begin(): void {
    clearTimeout(this.#timer);
    const made = makeRun(this.#id, 0, { queued: 1 }, () => 'dmz-web-01');
    Object.assign(this.run, made.run, { status: 'queued', startedAt: null });
    this.targetRuns.splice(0, this.targetRuns.length, ...made.targetRuns);
    this.steps.splice(0, this.steps.length, ...made.steps);
    this.#chunks.clear();
    this.#later(leaseMs, () => this.#lease(0));
  }

  chunks(stepId: number): readonly ChunkEvent[] {
    return this.#chunks.get(stepId) ?? [];
  }

  /** Adds a listener and returns the function that removes it. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #lease(at: number): void {
    const step = this.steps[at];
    const targetRun = this.targetRuns[0];
    if (step === undefined || targetRun === undefined) return;
    const now = new Date().toISOString();
    Object.assign(step, { status: 'running', attempt: 1, agentName: 'dmz-1-a', leasedAt: now });
    if (at === 0) {
      Object.assign(targetRun, { status: 'running', startedAt: now });
      Object.assign(this.run, { status: 'running', startedAt: now, targetsQueued: 0, targetsRunning: 1 });
    }
    this.#tell([step], at === 0);
    this.#later(leaseMs, () => this.#start(step, at));
  }

  #start(step: Step, at: number): void {
    step.startedAt = new Date().toISOString();
    this.#send('change', { steps: [{ id: step.id, startedAt: step.startedAt }] });
    this.#write(step, at, 1);
  }

  #write(step: Step, at: number, line: number): void {
    this.#later(lineMs, () => {
      const raw = Buffer.from(`${step.name}: part ${line} of ${lines[at] ?? 1}\n`);
      const chunk = { stepId: step.id, ...pack(line, 'stdout', line * lineMs, raw) };
      this.#chunks.set(step.id, [...this.chunks(step.id), chunk]);
      for (const listener of this.#listeners)
        listener('chunk', `${this.#seq}~${step.id}.1.${chunk.seq}`, chunk);
      if (line < (lines[at] ?? 1)) this.#write(step, at, line + 1);
      else this.#end(step, at);
    });
  }

  #end(step: Step, at: number): void {
    const now = new Date().toISOString();
    const failed = at === lines.length - 1;
    Object.assign(step, {
      status: failed ? 'failed' : 'succeeded',
      completedAt: now,
      executionTimeMs: Date.parse(now) - Date.parse(step.startedAt ?? now),
      exitCode: failed ? 5 : 0,
      reason: failed ? 'exit_code' : null,
      errorMessage: failed ? 'The command ended with exit code 5.' : null,
      outputState: 'complete',
    });
    this.run.completedSteps += 1;
    if (!failed) {
      this.#tell([step], true);
      this.#later(lineMs, () => this.#lease(at + 1));
      return;
    }
    const skipped = this.steps.slice(at + 1);
    for (const other of skipped) Object.assign(other, { status: 'skipped', outputState: 'complete' });
    Object.assign(this.targetRuns[0] ?? {}, { status: 'failed', completedAt: now });
    Object.assign(this.run, {
      status: 'failed',
      outputState: 'complete',
      completedAt: now,
      targetsRunning: 0,
      targetsFailed: 1,
      failedSteps: 1,
    });
    this.#tell([step, ...skipped], true);
    for (const listener of this.#listeners) listener('end', String(this.#seq), {});
  }

  #tell(steps: readonly Step[], whole: boolean): void {
    const { steps: _, ...run } = this.run;
    this.#send('change', { steps: [...steps], ...(whole ? { run, targetRuns: this.targetRuns } : {}) });
  }

  #send(event: 'change', change: Omit<RunChange, 'seq' | 'at'>): void {
    this.#seq += 1;
    this.run.eventSeq = this.#seq;
    this.run.eventId = String(this.#seq);
    const data = { seq: this.#seq, at: new Date().toISOString(), ...change };
    for (const listener of this.#listeners) listener(event, String(this.#seq), data);
  }

  #later(ms: number, work: () => void): void {
    this.#timer = setTimeout(work, ms);
  }
}
