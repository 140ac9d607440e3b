import { createHash } from 'node:crypto';

const pieceBytes = 255 * 1024;
const ahead = 4;

/** Returns the SHA-256 of the first `length` bytes, in hex. Reads piece by piece, a few pieces ahead. */
export async function hashBytes(
  length: number,
  read: (buffer: Buffer, length: number, position: number) => Promise<number>,
): Promise<string> {
  const hash = createHash('sha256');
  const pieces: { buffer: Buffer; length: number; got: Promise<number> }[] = [];
  let next = 0;
  const ask = (buffer: Buffer) => {
    const wanted = Math.min(pieceBytes, length - next);
    const got = read(buffer, wanted, next);
    // Errors after the first one are ignored.
    got.catch(() => undefined);
    pieces.push({ buffer, length: wanted, got });
    next += wanted;
  };
  while (pieces.length < ahead && next < length) ask(Buffer.allocUnsafe(Math.min(pieceBytes, length)));
  for (let piece = pieces.shift(); piece !== undefined; piece = pieces.shift()) {
    const got = await piece.got;
    hash.update(piece.buffer.subarray(0, got));
    // The file ended early: the hash covers what there is.
    if (got < piece.length) break;
    if (next < length) ask(piece.buffer);
  }
  return hash.digest('hex');
}
