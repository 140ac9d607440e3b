// The hosts of a run with their steps, as read and as changed since, and when they are redrawn.
import type { RunChange, Step, TargetRun } from '@opsconductor/protocol';
import { byName } from './by-name.ts';

export interface Host {
  targetRun: TargetRun;
  /** By step number, from index 0; empty for a host of a large run that nobody has looked at. */
  steps: Step[];
}

export type StepChange = NonNullable<RunChange['steps']>[number];

/** A run with more hosts than this is redrawn less often, since each redraw takes tens of milliseconds. */
const maxHostsPerFrame = 1_000;
const slowPictureMs = 250;

export class RunHosts {
  #version = $state(0);
  readonly all: Host[] = $derived.by(() => {
    void this.#version;
    return [...this.#hosts.values()];
  });
  readonly #hosts = new Map<number, Host>();
  readonly #stepPlaces = new Map<number, { targetRunId: number; at: number }>();
  #frame: number | undefined;
  #slowFrame: ReturnType<typeof setTimeout> | undefined;

  get(targetRunId: number): Host | undefined {
    void this.#version;
    return this.#hosts.get(targetRunId);
  }

  has(targetRunId: number): boolean {
    return this.#hosts.has(targetRunId);
  }

  /** Sets a host, without steps. */
  set(targetRun: TargetRun): void {
    this.#hosts.set(targetRun.id, { targetRun, steps: [] });
  }

  setStep(step: Step): void {
    const host = this.#hosts.get(step.targetRunId);
    if (host === undefined) return;
    const at = step.stepNumber - 1;
    host.steps[at] = step;
    this.#stepPlaces.set(step.id, { targetRunId: step.targetRunId, at });
  }

  dropSteps(targetRunId: number): void {
    const host = this.#hosts.get(targetRunId);
    if (host === undefined) return;
    for (const step of host.steps) this.#stepPlaces.delete(step.id);
    this.#hosts.set(targetRunId, { ...host, steps: [] });
  }

  keepOnly(targetRunIds: ReadonlySet<number>): void {
    for (const id of this.#hosts.keys()) if (!targetRunIds.has(id)) this.#hosts.delete(id);
  }

  /** Sorts the hosts by name once, as sorting ten thousand unsorted ones for each redraw would take too long. */
  sort(): void {
    const sorted = [...this.#hosts.values()].sort(byName);
    this.#hosts.clear();
    for (const host of sorted) this.#hosts.set(host.targetRun.id, host);
  }

  /** Applies changes to what is known. They carry whole values, so applying one twice is harmless. */
  apply({ targetRuns = [], steps: changedSteps = [] }: Pick<RunChange, 'targetRuns' | 'steps'>): void {
    for (const changed of targetRuns) {
      const host = this.#hosts.get(changed.id);
      if (host !== undefined)
        this.#hosts.set(changed.id, { ...host, targetRun: { ...host.targetRun, ...changed } });
    }
    for (const changed of changedSteps) {
      const place = this.#stepPlaces.get(changed.id);
      const host = place === undefined ? undefined : this.#hosts.get(place.targetRunId);
      const step = place === undefined ? undefined : host?.steps[place.at];
      if (place === undefined || host === undefined || step === undefined) continue;
      const steps = [...host.steps];
      steps[place.at] = { ...step, ...changed } as Step;
      this.#hosts.set(place.targetRunId, { ...host, steps });
    }
  }

  draw(): void {
    this.#version += 1;
  }

  /** Redraws with the next frame. */
  drawSoon(): void {
    this.#frame ??= requestAnimationFrame(() => {
      this.#frame = undefined;
      this.draw();
    });
  }

  /** Redraws once there is time for it: at most once per frame, however fast changes come. */
  drawChanges(): void {
    if (this.#hosts.size <= maxHostsPerFrame) this.drawSoon();
    else
      this.#slowFrame ??= setTimeout(() => {
        this.#slowFrame = undefined;
        this.drawSoon();
      }, slowPictureMs);
  }

  stop(): void {
    clearTimeout(this.#slowFrame);
    if (this.#frame !== undefined) cancelAnimationFrame(this.#frame);
  }
}
