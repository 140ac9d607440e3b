// The text of a file that a person names, or of standard input. A wrong name, such as that of a device or of a disk's
// image, must not fill the memory.
import { createReadStream } from 'node:fs';
import { GatheredBytes } from '../memory/gathered-bytes.ts';

/** Far more than any key, token, certificate, policy, request, or file of roots has. */
const maxGivenBytes = 32_000_000;

/**
 * Rejects with the system's error, or with one that says that there is too much, as the end of a sentence without its
 * point.
 *
 * @param source a path, or what is read instead of one.
 */
export async function readGivenText(source: string | AsyncIterable<Buffer>): Promise<string> {
  const read = new GatheredBytes();
  for await (const part of typeof source === 'string' ? streamOf(source) : source) {
    read.add(part);
    if (read.length > maxGivenBytes) throw new Error(`it has more than ${maxGivenBytes / 1e6} MB`);
  }
  return new TextDecoder().decode(read.bytes());
}

function streamOf(path: string): AsyncIterable<Buffer> {
  return createReadStream(path);
}
