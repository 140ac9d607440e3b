// What reading an inventory reports: errors, which prevent a plan, and findings, both by file and line. The first ones
// are kept in full and the rest only counted, so that a hostile file can't make the report large.
import { type Finding, visibleJson } from '@opsconductor/protocol';

export const maxErrors = 100;
const maxFindings = 1_000;
const maxShown = 100;

export interface Place {
  file: string;
  /** Null if it is not about a line. */
  line: number | null;
  /** In a JSON file, until the line is looked up: keys from the root, joined by NUL. */
  path?: string;
}

export interface InventoryError {
  place: Place;
  message: string;
}

export class Report {
  readonly errors: InventoryError[] = [];
  errorCount = 0;
  readonly findings: { kind: Finding['kind']; place: Place; message: string }[] = [];
  findingCount = 0;

  /** Reports an error, which prevents a plan. */
  error(place: Place, message: string): void {
    this.errorCount += 1;
    if (this.errors.length < maxErrors) this.errors.push({ place, message });
  }

  found(kind: Finding['kind'], place: Place, message: string): void {
    this.findingCount += 1;
    if (this.findings.length < maxFindings) this.findings.push({ kind, place, message });
  }
}

/** Ends the reading at once, because continuing could take forever. */
export class InventoryTooLarge extends Error {
  override readonly name = 'InventoryTooLarge';
  readonly place: Place;

  constructor(place: Place, message: string) {
    super(message);
    this.place = place;
  }
}

/** Returns a name from the file, for use in a sentence. */
export function quoted(text: string): string {
  const visible = visibleJson(text.slice(0, maxShown)).slice(1, -1);
  return `“${visible}${text.length > maxShown ? '…' : ''}”`;
}
