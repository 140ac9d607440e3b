// What is told of a job of Rundeck's that is converted, by where it stands in the job.
import type { ImportFinding } from '@opsconductor/protocol';

export type RundeckFinding = Pick<ImportFinding, 'kind' | 'path' | 'message'>;

export class Report {
  readonly findings: RundeckFinding[] = [];

  /** Told once of each place in the same words. */
  #tell(kind: RundeckFinding['kind'], path: string, message: string): void {
    if (this.findings.some((one) => one.path === path && one.message === message)) return;
    this.findings.push({ kind, path, message });
  }

  /** A step that is not carried over. */
  leftOut(path: string, message: string): void {
    this.#tell('left_out', path, message);
  }

  /** A setting that is not carried over. */
  dropped(path: string, message: string): void {
    this.#tell('dropped', path, message);
  }

  /** Carried over as something that is not quite the same. */
  changed(path: string, message: string): void {
    this.#tell('changed', path, message);
  }

  /** All that another one has. */
  take(other: Report): void {
    for (const { kind, path, message } of other.findings) this.#tell(kind, path, message);
  }

  note(path: string, message: string): void {
    this.#tell('note', path, message);
  }
}
