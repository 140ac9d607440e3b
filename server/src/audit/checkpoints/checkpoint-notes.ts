// Reads checkpoints from a file, in every form in which they are kept: an agent's audit-checkpoint.json, the file that
// the server appends to, or an answer of the API.
import { createReadStream } from 'node:fs';

const start = /^(?=opsconductor\.audit\/)/m;

/** A text can't be much longer. These are more than a million checkpoints. */
const maxNotesBytes = 500_000_000;

/** Returns all signed notes of a file, unverified. */
export async function readNotes(file: string, maxBytes = maxNotesBytes): Promise<string[]> {
  const text = await readText(file, maxBytes);
  if (text.trimStart().startsWith('{')) return notesOfJson(text);
  return splitNotes(text);
}

async function readText(file: string, maxBytes: number): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of createReadStream(file) as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > maxBytes)
      throw new Error(
        `${file} has more than ${maxBytes / 1e6} MB. Give a part of it, cut before a line that begins with opsconductor.audit/.`,
      );
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
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
