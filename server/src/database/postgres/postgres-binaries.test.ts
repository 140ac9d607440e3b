import { expect, test } from 'vitest';
import { findBinaryPackage } from './postgres-binaries.ts';

test.each([
  ['sunos', 'x64'],
  ['linux', 'riscv64'],
  ['win32', 'x64'],
])('%s on %s is refused with the way out', (platform, arch) => {
  expect(() => findBinaryPackage(platform, arch)).toThrow(/Set DATABASE_URL/);
});
