import type { Credential } from '@opsconductor/protocol';

/** When the newest version was sealed, as far as the server tells it. */
export function savedAt(credential: Pick<Credential, 'createdAt' | 'savedAt'>): string {
  return credential.savedAt ?? credential.createdAt;
}
