import { limits } from '@opsconductor/protocol';

/** Returns a warning if a secret is too short to be masked, otherwise undefined. */
export function maskingHint(secret: string): string | undefined {
  const bytes = new TextEncoder().encode(secret).length;
  if (bytes === 0 || bytes >= limits.minMaskedBytes) return undefined;
  return `Too short to be masked: if a step prints it, it can be read. Secrets of ${limits.minMaskedBytes} characters and more are masked.`;
}
