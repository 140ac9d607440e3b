// What reading an inventory reports: errors, which prevent a plan, and findings, both by file and line. The first ones
// are kept in full and the rest only counted, so that a hostile file can't make the report large.
import { type Finding, visibleJson } from '@opsconductor/protocol';

export const maxErrors = 100;
/** Of each kind: hosts that are left out must not be hidden behind a setting that is dropped from every host. */
const maxFindings = 1_000;
const maxPlaces = 4;
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

export interface FoundAt {
  kind: Finding['kind'];
  place: Place;
  message: string;
  /** More places in the same file of which the same is true; the first few. */
  others: Place[];
  otherCount: number;
}

export class Report {
  readonly errors: InventoryError[] = [];
  errorCount = 0;
  readonly findings: FoundAt[] = [];
  findingCount = 0;
  readonly #kept = new Map<Finding['kind'], Map<string, FoundAt>>();

  /** Reports an error, which prevents a plan. */
  error(place: Place, message: string): void {
    this.errorCount += 1;
    if (this.errors.length < maxErrors) this.errors.push({ place, message });
  }

  /** Reports what is found. What is dropped again in the same file, with the same words, is only counted. */
  found(kind: Finding['kind'], place: Place, message: string): void {
    const kept = this.#kept.get(kind) ?? new Map<string, FoundAt>();
    this.#kept.set(kind, kept);
    const key = kind === 'dropped' ? `${place.file}\0${message}` : `${kept.size}`;
    const same = kept.get(key);
    if (same !== undefined) {
      same.otherCount += 1;
      if (same.others.length < maxPlaces) same.others.push(place);
      return;
    }
    this.findingCount += 1;
    if (kept.size >= maxFindings) return;
    const found = { kind, place, message, others: [], otherCount: 0 };
    kept.set(key, found);
    this.findings.push(found);
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

/** Returns the message, and where else it holds. */
export function withOthers({ message, others, otherCount }: FoundAt): string {
  const lines = others.flatMap(({ line }) => line ?? []);
  const last = lines.at(-1);
  if (last === undefined) return message;
  const listed = lines.length === 1 ? `${last}` : `${lines.slice(0, -1).join(', ')} and ${last}`;
  if (otherCount > lines.length)
    return `${message} Likewise in ${otherCount} more places, such as lines ${listed}.`;
  return `${message} Likewise in ${lines.length === 1 ? 'line' : 'lines'} ${listed}.`;
}
