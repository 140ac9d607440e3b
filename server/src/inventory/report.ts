// What reading an inventory has to say: errors, which keep it from being planned, and findings. All of it by file and
// line, the first of it in full and the rest counted, so that a hostile file can't make the report large.
import { type Finding, visibleJson } from '@opsconductor/protocol';

export const maxErrors = 100;
export const maxFindings = 1_000;
const maxShown = 100;

export interface Place {
  file: string;
  /** Null where it is about no line. */
  line: number | null;
  /** In a JSON file, instead of the line until that is looked up: keys from the root, joined by NUL. */
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

  /** Keeps the inventory from being planned. */
  error(place: Place, message: string): void {
    this.errorCount += 1;
    if (this.errors.length < maxErrors) this.errors.push({ place, message });
  }

  found(kind: Finding['kind'], place: Place, message: string): void {
    this.findingCount += 1;
    if (this.findings.length < maxFindings) this.findings.push({ kind, place, message });
  }
}

/** Ends the reading at once: going on could take without end. */
export class InventoryTooLarge extends Error {
  override readonly name = 'InventoryTooLarge';
  readonly place: Place;

  constructor(place: Place, message: string) {
    super(message);
    this.place = place;
  }
}

/** A name out of the file, for a sentence. */
export function quoted(text: string): string {
  const visible = visibleJson(text.slice(0, maxShown)).slice(1, -1);
  return `“${visible}${text.length > maxShown ? '…' : ''}”`;
}
