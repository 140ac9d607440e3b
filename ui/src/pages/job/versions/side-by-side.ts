// Aligns two texts side by side: lines that differ face each other, equal lines between them are folded.
import { type DiffLine, lineHunks } from '@opsconductor/protocol';

export interface SideLine {
  number: number;
  text: string;
}
export type SideRow =
  | { kind: 'same' | 'changed'; before: SideLine | undefined; after: SideLine | undefined }
  /** Number of equal lines that are not shown. */
  | { kind: 'fold'; lines: number; key: string };

/** Returns the rows of both texts, each hunk with its context lines; empty if the texts are equal. */
export function sideBySide(before: string, after: string): SideRow[] {
  const rows: SideRow[] = [];
  let nextBefore = 1;
  const total = before.split('\n').length;
  for (const hunk of lineHunks(before, after)) {
    const start = hunk.beforeLines === 0 ? hunk.beforeStart + 1 : hunk.beforeStart;
    const afterStart = hunk.afterLines === 0 ? hunk.afterStart + 1 : hunk.afterStart;
    if (start > nextBefore) rows.push(foldOf(nextBefore, start));
    rows.push(...hunkRows(hunk.lines, start, afterStart));
    nextBefore = start + hunk.beforeLines;
  }
  if (rows.length > 0 && nextBefore <= total) rows.push(foldOf(nextBefore, total + 1));
  return rows;
}

export type OneColumnRow =
  | { kind: 'same' | 'removed' | 'added'; line: SideLine }
  | { kind: 'fold'; lines: number; key: string };

/** The same rows below each other, for screens without room for two texts: what was removed, then what replaces it. */
export function inOneColumn(rows: readonly SideRow[]): OneColumnRow[] {
  const lines: OneColumnRow[] = [];
  let added: OneColumnRow[] = [];
  const flush = () => {
    lines.push(...added);
    added = [];
  };
  for (const row of rows) {
    if (row.kind === 'changed') {
      if (row.before !== undefined) lines.push({ kind: 'removed', line: row.before });
      if (row.after !== undefined) added.push({ kind: 'added', line: row.after });
      continue;
    }
    flush();
    if (row.kind === 'fold') lines.push(row);
    else if (row.after !== undefined) lines.push({ kind: 'same', line: row.after });
  }
  flush();
  return lines;
}

function foldOf(from: number, to: number): SideRow {
  return { kind: 'fold', lines: to - from, key: `fold ${from}` };
}

function hunkRows(lines: readonly DiffLine[], beforeStart: number, afterStart: number): SideRow[] {
  const rows: SideRow[] = [];
  let [left, right] = [beforeStart, afterStart];
  let removed: SideLine[] = [];
  let added: SideLine[] = [];
  const flush = () => {
    for (let at = 0; at < Math.max(removed.length, added.length); at += 1) {
      rows.push({ kind: 'changed', before: removed[at], after: added[at] });
    }
    removed = [];
    added = [];
  };
  for (const { op, text } of lines) {
    if (op === 'same') {
      flush();
      rows.push({ kind: 'same', before: { number: left, text }, after: { number: right, text } });
    } else if (op === 'removed') removed.push({ number: left, text });
    else added.push({ number: right, text });
    if (op !== 'added') left += 1;
    if (op !== 'removed') right += 1;
  }
  flush();
  return rows;
}
