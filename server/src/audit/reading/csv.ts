// Writes rows as CSV (RFC 4180). Names and details come from anyone, so what a spreadsheet would run as a formula gets
// an apostrophe in front.
import type { SealedRow } from '../leaf.ts';

const columns = [
  'id',
  'at',
  'actorKind',
  'actorId',
  'actorName',
  'action',
  'objectKind',
  'objectId',
  'detail',
  'address',
  'requestId',
  'segmentId',
  'categoryId',
  'position',
] as const;

export const csvHead = `${columns.join(',')}\r\n`;

export function csvLine(row: SealedRow & { position: number | null }): string {
  return `${columns.map((column) => cell(row[column])).join(',')}\r\n`;
}

function cell(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (typeof value === 'number') return String(value);
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  const harmless = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}
