// Vitest compares two buffers byte by byte, as if each byte were a property: of a megabyte that takes seconds. Equal
// ones are found to be equal at once here; of others, vitest still shows where they differ.
import { expect } from 'vitest';

const isDone = Symbol.for('opsconductor.quick-equality');

function areEqualBuffers(a: unknown, b: unknown): true | undefined {
  return Buffer.isBuffer(a) && Buffer.isBuffer(b) && a.equals(b) ? true : undefined;
}

// It runs before each file, and files share a process.
if (!Object.hasOwn(globalThis, isDone)) {
  Object.defineProperty(globalThis, isDone, { value: true });
  expect.addEqualityTesters([areEqualBuffers]);
}
