import type { Credential } from '@opsconductor/protocol';

/** When the newest version was sealed, if the server says so. */
export function savedAt(credential: Pick<Credential, 'createdAt' | 'savedAt'>): string {
  return credential.savedAt ?? credential.createdAt;
}
