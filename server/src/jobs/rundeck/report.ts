// What is reported about the conversion of a Rundeck job, by path in the job.
import type { ImportFinding } from '@opsconductor/protocol';

export type RundeckFinding = Pick<ImportFinding, 'kind' | 'path' | 'message'>;

export class Report {
  readonly findings: RundeckFinding[] = [];

  /** Reports the same message only once per path. */
  #tell(kind: RundeckFinding['kind'], path: string, message: string): void {
    if (this.findings.some((one) => one.path === path && one.message === message)) return;
    this.findings.push({ kind, path, message });
  }

  /** Reports a step that is not carried over. */
  leftOut(path: string, message: string): void {
    this.#tell('left_out', path, message);
  }

  /** Reports a setting that is not carried over. */
  dropped(path: string, message: string): void {
    this.#tell('dropped', path, message);
  }

  /** Reports something that became something not quite equal. */
  changed(path: string, message: string): void {
    this.#tell('changed', path, message);
  }

  /** Adds everything from another report. */
  take(other: Report): void {
    for (const { kind, path, message } of other.findings) this.#tell(kind, path, message);
  }

  note(path: string, message: string): void {
    this.#tell('note', path, message);
  }
}
