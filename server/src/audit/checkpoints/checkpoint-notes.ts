// Reads checkpoints from a file, in every form in which they are kept: an agent's audit-checkpoint.json, the file that
// the server appends to, or an answer of the API.
import { readFile } from 'node:fs/promises';

const start = /^(?=opsconductor\.audit\/)/m;

/** Returns all signed notes of a file, unverified. */
export async function readNotes(file: string): Promise<string[]> {
  const text = await readFile(file, 'utf8');
  if (text.trimStart().startsWith('{')) return notesOfJson(text);
  return splitNotes(text);
}

/** Splits notes that were written one after another, with or without blank lines between them. */
export function splitNotes(text: string): string[] {
  return text
    .split(start)
    .map((note) => `${note.trimEnd()}\n`)
    .filter((note) => note.trim() !== '');
}

function notesOfJson(text: string): string[] {
  return text
    .split('\n')
    .flatMap((line, i, lines) => {
      if (line.trim() === '') return [];
      try {
        return [JSON.parse(line) as unknown];
      } catch {
        return i === 0 ? [JSON.parse(lines.join('\n')) as unknown] : [];
      }
    })
    .flatMap((value) => {
      const note = typeof value === 'object' && value !== null && 'note' in value ? value.note : undefined;
      return typeof note === 'string' ? [note] : [];
    });
}
