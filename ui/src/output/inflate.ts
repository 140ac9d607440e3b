// Output chunks arrive as gzip in base64. Inflating stops at the length that the chunk states.

/** The chunk's length is not what it states, or it isn't gzip or base64. */
export class UnreadableChunk extends Error {
  override name = 'UnreadableChunk';
}

export async function inflateChunk(base64: string, rawLength: number): Promise<Uint8Array> {
  const packed = bytesOfBase64(base64);
  const stream = new DecompressionStream('gzip');
  const writer = stream.writable.getWriter();
  // If the data is bad, both promises reject with the error that the reader also throws.
  const written = Promise.allSettled([writer.write(packed), writer.close()]);
  const raw = new Uint8Array(rawLength);
  const reader = stream.readable.getReader();
  let length = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (length + value.length > rawLength) {
        await reader.cancel();
        throw new UnreadableChunk(`the chunk inflates to more than the ${rawLength} bytes that it states`);
      }
      raw.set(value, length);
      length += value.length;
    }
  } catch (error) {
    if (error instanceof UnreadableChunk) throw error;
    throw new UnreadableChunk('the chunk is not gzip', { cause: error });
  } finally {
    await written;
  }
  if (length !== rawLength) {
    throw new UnreadableChunk(`the chunk inflates to ${length} bytes, it states ${rawLength}`);
  }
  return raw;
}

function bytesOfBase64(base64: string): Uint8Array<ArrayBuffer> {
  const native = (Uint8Array as { fromBase64?: (text: string) => Uint8Array<ArrayBuffer> }).fromBase64;
  try {
    if (native !== undefined) return native(base64);
    const binary = atob(base64);
    const bytes = new Uint8Array(binary.length);
    for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
    return bytes;
  } catch (error) {
    throw new UnreadableChunk('the chunk is not base64', { cause: error });
  }
}
