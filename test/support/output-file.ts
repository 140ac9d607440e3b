// A file on the target that a step prints.
import { createHash, randomBytes } from 'node:crypto';
import { open } from 'node:fs/promises';

export interface OutputFile {
  path: string;
  bytes: number;
  sha256: string;
}

const pieceBytes = 1_000_000;

/**
 * Writes the file: of each megabyte, a share is random and incompressible, and the rest are lines like those of a log.
 */
export async function writeOutputFile(path: string, bytes: number, randomShare: number): Promise<OutputFile> {
  const file = await open(path, 'w', 0o644);
  const hash = createHash('sha256');
  for (let at = 0; at < bytes; at += pieceBytes) {
    const length = Math.min(pieceBytes, bytes - at);
    const piece = Buffer.alloc(length, `${String(at).padStart(12, '0')} a line like those of any log\n`);
    randomBytes(Math.round(length * randomShare)).copy(piece);
    hash.update(piece);
    await file.write(piece);
  }
  await file.close();
  return { path, bytes, sha256: hash.digest('hex') };
}
